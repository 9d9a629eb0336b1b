"""Turn the rows that break rules into faults with lines, by reading their files again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from seedlab.errors import Fault
from seedlab.flow import FILE, ROW, SourceFile
from seedlab.frames.files.faults import MAX_FAULTS
from seedlab.frames.files.positions import Position, locate, locate_name
from seedlab.frames.rules import BROKEN, REJECTED_PARENT, Broken

_PLACES = pl.Schema({FILE: BROKEN[FILE], ROW: BROKEN[ROW]})
_BEFORE = {REJECTED_PARENT: ", "}  # what separates a rule's message from the place of the earlier row
Paths = Mapping[tuple[str, str], str]  # (seed, table) → path of its records in the files


def trace(broken: Iterable[Broken], paths: Paths, *, every: bool = False) -> list[Fault]:
    """Make one fault per row that breaks a rule, in order of files and lines.

    Of duplicate rows all but the first are reported, or all with `every`. At most MAX_FAULTS faults are made
    per rule and load; a further one tells how many are not listed.
    """
    faults: list[Fault] = []
    for each in broken:
        is_duplicate = each.rule.name in ("duplicate-key", "unique") and not each.before
        first_of = _first_places(each.frame) if is_duplicate else {}
        hidden = pl.DataFrame([] if every else list(first_of.values()), schema=_PLACES, orient="row")
        shown = replace(
            each, frame=each.frame.join(hidden, on=[FILE, ROW], how="anti", maintain_order="left")
        )
        faults += _traced(shown, _path(each, paths), first_of, _elsewhere(shown, paths))
    return sorted(faults, key=_place)


def _path(broken: Broken, paths: Paths) -> str:
    return paths.get((broken.load.seed, broken.load.table), "$")


def _elsewhere(broken: Broken, paths: Paths) -> dict[str, str]:
    """Locate the earlier rows of other loads with the same value; value → `file:line`."""
    found: dict[str, str] = {}
    shown = broken.frame.head(MAX_FAULTS)
    for other in broken.before:
        frame = other.frame.join(shown, on="same", how="semi", maintain_order="left").head(MAX_FAULTS)
        positions = _positions(other, _path(other, paths), frame, {})
        for file, row, same in frame.select(FILE, ROW, "same").rows():
            if (file, row) in positions:
                name = other.load.files[file].name
                found.setdefault(same, f"{name}:{positions[file, row].line}")
    return found


def _place(fault: Fault) -> tuple[bool, str, int, str]:
    """Sort faults by file and line, and those about rows that are not listed last."""
    return fault.row is None, fault.file or "", fault.line or 0, fault.column or ""


def complete(
    faults: Sequence[Fault], files: Mapping[str, SourceFile], paths: Mapping[str, str]
) -> list[Fault]:
    """Add lines to faults that have only file and row, as writers report them.

    `files` has the files by name, `paths` the path of each table's records.
    """
    wanted: dict[tuple[str, str], set[int]] = {}
    for fault in faults:
        name = fault.file or ""
        if name in files and fault.line is None and fault.row is not None:
            wanted.setdefault((name, paths.get(fault.table or "", "$")), set()).add(fault.row)
    positions = {
        (name, path): locate(files[name], path, sorted(rows)) for (name, path), rows in wanted.items()
    }
    done = []
    for fault in faults:
        file = files.get(fault.file or "")
        if file is None or fault.line is not None:
            done.append(fault)
        elif fault.row is None:
            named = locate_name(file, paths.get(fault.table or "", "$"), fault.column or "")
            done.append(_placed(fault, named))
        else:
            found = positions[file.name, paths.get(fault.table or "", "$")]
            done.append(_placed(fault, found.get(fault.row)))
    return done


def _traced(
    broken: Broken, path: str, first_of: Mapping[str, tuple[int, int]], elsewhere: Mapping[str, str]
) -> list[Fault]:
    frame, faults = broken.frame, []
    shown = frame.head(MAX_FAULTS)
    positions = _positions(broken, path, shown, first_of)
    for file, row, same, value in shown.select(FILE, ROW, "same", "value").rows():
        since = (
            f"{_BEFORE.get(broken.rule.name, '; first at ')}{elsewhere[same]}" if same in elsewhere else ""
        )
        if same in first_of and first_of[same] != (file, row):
            since = _since(broken, file, first_of[same], positions)
        fault = Fault(
            rule=broken.rule.name,
            message=broken.rule.message + since,
            file=broken.load.files[file].name,
            column=broken.rule.column or None,
            table=broken.load.table,
            value=value,
            row=row,
        )
        faults.append(_placed(fault, positions.get((file, row))))
    if frame.height > MAX_FAULTS:
        more = frame.height - MAX_FAULTS
        message = f"{more:,} more rows: {broken.rule.message}"
        faults.append(Fault(rule=broken.rule.name, message=message, table=broken.load.table, count=more))
    return faults


def _since(
    broken: Broken, file: int, first: tuple[int, int], positions: Mapping[tuple[int, int], Position]
) -> str:
    """Say where the first of duplicate rows is."""
    position = positions.get(first)
    if position is None:
        return ""
    where = "line " if first[0] == file else f"{broken.load.files[first[0]].name}:"
    return f"; first at {where}{position.line}"


def _positions(
    broken: Broken, path: str, shown: pl.DataFrame, first_of: Mapping[str, tuple[int, int]]
) -> dict[tuple[int, int], Position]:
    wanted: dict[int, set[int]] = {}
    for file, row in [*shown.select(FILE, ROW).rows(), *first_of.values()]:
        wanted.setdefault(file, set()).add(row)
    return {
        (file, row): position
        for file, rows in wanted.items()
        for row, position in locate(broken.load.files[file], path, sorted(rows)).items()
    }


def _first_places(frame: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """Find the first place (FILE, ROW) of each value, other than NULL, that occurs more than once."""
    repeated = frame.filter(pl.col("same").is_not_null() & pl.col("same").is_duplicated()).sort(FILE, ROW)
    first = repeated.unique(subset=["same"], keep="first", maintain_order=True)
    return {same: (file, row) for same, file, row in first.select("same", FILE, ROW).rows()}


def _placed(fault: Fault, position: Position | None) -> Fault:
    if position is None:
        return fault
    value = position.at(fault.column)
    shown, caret = value.point(fault.column)
    return replace(
        fault,
        line=position.line,
        path=position.path,
        excerpt=shown,
        excerpt_line=value.line if value.line != position.line else None,
        caret=caret,
    )
