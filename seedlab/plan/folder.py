"""Finds the data files of a project, orders them, and derives tables and tags from their names.

The only module of this package that lists the project's folder; it opens no data file.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Literal

from seedlab.errors import ConfigurationError, nearest
from seedlab.flow import Catalog, Format, Seed, SourceFile, TableSpec

FORMATS: Mapping[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".parquet": "parquet",
}
COMPRESSIONS: Mapping[str, Literal["gz", "zst"]] = {".gz": "gz", ".zst": "zst"}
# Data, too, but in formats and compressions that we do not read.
_OTHER_FORMATS = frozenset({".xlsx", ".xls", ".ods", ".avro", ".orc", ".arrow", ".feather"})
_OTHER_COMPRESSIONS = frozenset({".zip", ".bz2", ".xz"})
REPORTS = "reports"
# Folders of runs, profiles and reports, named by their time, which `--reports` may put anywhere in the
# project.
_RECORDS = re.compile(r"^\d{8}T\d{6}Z-")
_PREFIX = re.compile(r"^(\d+)[-_](?=.)")


def source_files(root: Path, patterns: Sequence[str]) -> tuple[SourceFile, ...]:
    """Find the files of one seed, in the order of their paths.

    `root` is the project's folder, with symbolic links resolved. Raises ConfigurationError for a pattern that
    matches no file, a file outside the project, and a file of an unknown format.
    """
    found = {file.name: file for pattern in patterns for file in _matches(root, pattern)}
    return tuple(sorted(found.values(), key=_order))


def folder_seeds(root: Path) -> tuple[Seed, ...]:
    """Make one seed per data file of a folder without configuration, in the order of their paths."""
    files = sorted((file for path in _walk(root, root) if (file := _source(root, path))), key=_order)
    if not files:
        raise ConfigurationError(
            f"{root.name}/ holds no data files; seedlab reads TABLE{', TABLE'.join(FORMATS)}"
        )
    shared = Counter(_without_suffix(file) for file in files)
    return tuple(
        _folder_seed(file, file.name if shared[name] > 1 else name)
        for file in files
        for name in [_without_suffix(file)]
    )


def table_name(file: SourceFile) -> str:
    """Return the table of a file: its base name without suffixes and numeric prefix."""
    return _PREFIX.sub("", _base_name(file))


def keep_prefix(seed: Seed, catalog: Catalog) -> Seed:
    """Keep the numeric prefix of a file's name if the catalog has a table whose name begins with it."""
    full_name = _base_name(seed.files[0])
    if catalog.find(full_name) is None or full_name == seed.tables[0].table:
        return seed
    return replace(seed, tables=(replace(seed.tables[0], table=full_name),))


def unread_files(root: Path, seeds: Iterable[Seed]) -> tuple[str, ...]:
    """Find files that look like data and lie beside those of seeds, but which no seed reads."""
    files = [file for seed in seeds for file in seed.files]
    read = {file.path for file in files}
    beside = (path for folder in {path.parent for path in read} for path in folder.iterdir())
    return tuple(sorted(_name(root, path) for path in beside if path not in read and _looks_like_data(path)))


def _looks_like_data(path: Path) -> bool:
    suffix, _ = _suffixes(path)
    ours = is_ignored(path.name) or path.name.startswith("seedlab.")
    return not ours and (suffix in FORMATS or suffix in _OTHER_FORMATS) and path.is_file()


def _suffixes(path: PurePath) -> tuple[str, str]:
    """Return the suffix that names a file's format, and behind it that of its compression, or ""."""
    *_, before, last = ("", "", *(each.lower() for each in path.suffixes))
    return (before, last) if last in COMPRESSIONS or last in _OTHER_COMPRESSIONS else (last, "")


def format_of(path: PurePath) -> Format | None:
    """Return the format in which files of this name are read, or None if they are not."""
    suffix, compression = _suffixes(path)
    return None if compression in _OTHER_COMPRESSIONS else FORMATS.get(suffix)


def _folder_seed(file: SourceFile, name: str) -> Seed:
    folders = file.name.split("/")[:-1]
    return Seed(
        name=name,
        stage="",
        files=(file,),
        tables=(TableSpec(table=table_name(file)),),
        tags=tuple(_PREFIX.sub("", folder) for folder in folders),
    )


def _matches(root: Path, pattern: str) -> Iterator[SourceFile]:
    if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
        raise ConfigurationError(f"'{pattern}' leads out of the project; name files inside its folder")
    if not PurePosixPath(pattern).parts:
        raise ConfigurationError(f"'{pattern}' is the project's folder itself; name its files, as in '*.csv'")
    paths = [path for path in _glob(root, pattern) if _is_wanted(root, path, pattern)]
    if not paths:
        data = (path for path in _glob(root, "**/*") if _looks_like_data(path))
        near = nearest(pattern, (_name(root, path) for path in data if _is_wanted(root, path, pattern)))
        raise ConfigurationError(f"'{pattern}' matches no file; patterns begin at the project's folder{near}")
    for path in paths:
        file = _source(root, path)
        if file is None:
            suffixes = ", ".join(FORMATS)
            raise ConfigurationError(
                f"'{pattern}' matches {_name(root, path)}, but seedlab reads {suffixes} (.gz, .zst)"
            )
        yield file


def _glob(root: Path, pattern: str) -> list[Path]:
    try:
        return list(root.glob(pattern))
    except (ValueError, NotImplementedError) as error:
        raise ConfigurationError(f"'{pattern}' is not a valid file pattern: {str(error).lower()}") from error


def _is_wanted(root: Path, path: Path, pattern: str) -> bool:
    name = _name(root, path)
    parts = PurePosixPath(name).parts
    # Folders of records contain reject files, which have the names of their sources. Only a pattern that
    # begins with the folder's name matches them.
    is_record = _holds_records(parts) and parts[:1] != PurePosixPath(pattern).parts[:1]
    return not path.is_dir() and (name == pattern or not (is_record or any(map(is_ignored, parts))))


def _walk(root: Path, folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if is_ignored(path.name) or path == root / REPORTS or _RECORDS.match(path.name):
            continue
        if not path.is_dir():
            yield path
        elif path.is_symlink():
            raise ConfigurationError(
                f"{_name(root, path)} is a link to a folder; put its files into the project"
            )
        else:
            yield from _walk(root, path)


def _holds_records(parts: Sequence[str]) -> bool:
    return parts[:1] == (REPORTS,) or any(map(_RECORDS.match, parts))


def is_ignored(name: str) -> bool:
    """Tell whether a file or folder of this name is hidden, or written by seedlab itself."""
    return name.startswith((".", "_seedlab")) or ".rejects." in name


def _source(root: Path, path: Path) -> SourceFile | None:
    """Return the data file at a path, or None if its suffix is not that of a data file."""
    form = format_of(path)
    if form is None:
        return None
    _check_inside(root, path)
    compression = COMPRESSIONS.get(path.suffix.lower())
    return SourceFile(path=path, name=_name(root, path), format=form, compression=compression)


def _check_inside(root: Path, path: Path) -> None:
    if not os.path.realpath(path).startswith(f"{root}{os.sep}"):  # a quarter of pathlib's time
        raise ConfigurationError(
            f"{_name(root, path)} is a link out of the project; put the file into its folder"
        )
    if not path.is_file():
        raise ConfigurationError(f"{_name(root, path)} is not a regular file")


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _base_name(file: SourceFile) -> str:
    return _without_suffix(file).rpartition("/")[2]


def _without_suffix(file: SourceFile) -> str:
    return file.name.rsplit(".", 2 if file.compression else 1)[0]  # a third of pathlib's time


def _order(file: SourceFile) -> tuple[tuple[float, str], ...]:
    """Return a sort key by path, folder by folder; numeric prefixes are numbers, so that 10- follows 9-."""
    return tuple(_part_order(part) for part in file.name.split("/"))


def _part_order(part: str) -> tuple[float, str]:
    found = _PREFIX.match(part)
    return (int(found[1]) if found else float("inf"), part)


def shared_table(files: Iterable[SourceFile]) -> str | None:
    """Return the table that all files are named after, or None if they differ."""
    names = {table_name(file) for file in files}
    return names.pop() if len(names) == 1 else None
