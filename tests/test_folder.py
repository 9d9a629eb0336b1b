"""A folder of data files is a project; what its names mean, and what is not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seedlab.errors import ConfigurationError
from seedlab.plan.folder import source_files
from seedlab.plan.project import load_project


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_each_file_is_a_seed_for_the_table_of_its_name(tmp_path: Path) -> None:
    project = load_project(touch(tmp_path, "courses.csv", "hr.people.parquet"))

    assert project.stages == ()
    assert [(seed.name, seed.stage, seed.tables[0].table) for seed in project.seeds] == [
        ("courses", "", "courses"),
        ("hr.people", "", "hr.people"),
    ]
    assert (project.name, project.config) == (tmp_path.name, None)
    assert set(project.environments) == {"development", "test", "production"}


def test_prefixes_and_folders_group_and_order_but_never_name_tables(tmp_path: Path) -> None:
    touch(tmp_path, "10-last/z.csv", "02-a/deep/01_b.csv", "9-c.csv", "2024.csv", "02-a/a.csv")

    seeds = load_project(tmp_path).seeds

    assert [seed.name for seed in seeds] == [
        "02-a/a",
        "02-a/deep/01_b",
        "9-c",
        "10-last/z",
        "2024",
    ]
    assert [seed.tables[0].table for seed in seeds] == ["a", "b", "c", "z", "2024"]
    assert [seed.tags for seed in seeds] == [("a",), ("a", "deep"), (), ("last",), ()]


@pytest.mark.parametrize(
    ("name", "form", "compression"),
    [
        ("t.csv", "csv", None),
        ("t.CSV", "csv", None),
        ("t.tsv.gz", "tsv", "gz"),
        ("t.json", "json", None),
        ("t.jsonl.zst", "jsonl", "zst"),
        ("t.ndjson", "jsonl", None),
        ("t.yaml", "yaml", None),
        ("t.yml", "yaml", None),
        ("t.parquet", "parquet", None),
    ],
)
def test_the_suffix_says_the_format(tmp_path: Path, name: str, form: str, compression: str | None) -> None:
    (seed,) = load_project(touch(tmp_path, name)).seeds

    assert (seed.files[0].format, seed.files[0].compression, seed.tables[0].table) == (form, compression, "t")


def test_two_formats_of_one_table_are_two_seeds_of_it(tmp_path: Path) -> None:
    seeds = load_project(touch(tmp_path, "t.csv", "t.json")).seeds

    assert [(seed.name, seed.tables[0].table) for seed in seeds] == [("t.csv", "t"), ("t.json", "t")]


def test_what_is_no_data_is_passed_over(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "t.csv",
        "README.md",
        "x.txt",
        ".hidden.csv",
        ".git/a.json",
        "reports/runs/1/run.json",
        "other/runs/20261127T083132Z-e7f05c4b/run.json",
        "other/20261127T083132Z-01-seed/summary.json",
        "t.gz",
    )
    touch(tmp_path, "t.rejects.csv", "_seedlab/t.csv", "_seedlab_rejects.csv", "in/reports/kept.csv")

    assert [seed.name for seed in load_project(tmp_path).seeds] == ["in/reports/kept", "t"]


def test_a_folder_without_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no data files; seedlab reads TABLE.csv, TABLE.tsv"):
        load_project(touch(tmp_path, "README.md"))


def test_links_out_of_the_project_are_refused(tmp_path: Path) -> None:
    inside = touch(tmp_path, "outside.csv", "in/a.csv") / "in"
    (inside / "b.csv").symlink_to(tmp_path / "outside.csv")

    with pytest.raises(ConfigurationError, match=r"b.csv is a link out of the project"):
        load_project(inside)
    with pytest.raises(ConfigurationError, match=r"b.csv is a link out of the project"):
        source_files(inside, ["*.csv"])


def test_links_inside_the_project_are_read(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv")
    (tmp_path / "b.csv").symlink_to("a.csv")

    assert [file.name for file in source_files(tmp_path, ["b.csv"])] == ["b.csv"]


def test_linked_folders_are_told_not_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.csv", "in/b.csv")
    (tmp_path / "in/more").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigurationError, match="more is a link to a folder"):
        load_project(tmp_path / "in")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "broken.csv").symlink_to("nothing.csv")

    for name in ("pipe.csv", "broken.csv"):
        with pytest.raises(ConfigurationError, match=f"{name} is not a regular file"):
            source_files(tmp_path, [f"{name[:3]}*"])


def test_patterns_find_files_only_once_and_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "d/b.csv", "d/a.csv", "d/.c.csv", "d/x.rejects.csv", "d/sub.csv/inner.csv")

    files = source_files(tmp_path, ["d/*.csv", "**/a.csv"])

    assert [file.name for file in files] == ["d/a.csv", "d/b.csv"]


def test_a_hidden_file_is_read_when_it_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ".c.csv")

    assert [file.name for file in source_files(tmp_path, [".c.csv"])] == [".c.csv"]
