"""The documents say what the tool does: every flag and key is there, and what they show works."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import seedlab
import seedlab.plan
from seedlab.cli import main
from seedlab.cli.arguments import build_parser
from seedlab.database.writer import Session
from seedlab.plan.conditions import KINDS
from seedlab.plan.project import KEYS
from tests.support.recipe import FILE
from tests.support.seeding import execute, rows_of
from tests.test_project import SCHEMA

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?P<file>[^)#:\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_MACHINE = re.compile(r"(?<![\w.])/(work|root|tmp|usr|var)/|https?://(?!keepachangelog|semver)")

named = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(text: str, *languages: str) -> list[str]:
    return [each["text"] for each in _BLOCK.finditer(text) if each["language"] in languages]


def command_lines(text: str) -> Iterator[str]:
    """Every line that calls seedlab, typed at a prompt or standing in a script."""
    for block in blocks(text, "console"):
        yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))
    for block in blocks(text, "sh"):
        yield from block.splitlines()


def seedlab_calls(text: str) -> list[list[str]]:
    calls = []
    for line in command_lines(text):
        for part in line.split("&&"):
            words = [word for word in shlex.split(part) if not re.match(r"[A-Z_]+=", word)]
            if words[:3] == ["python", "-m", "seedlab"]:
                calls.append(words[3:])
            elif words[:1] == ["seedlab"]:
                calls.append(words[1:])
    return calls


def parsers() -> dict[str, argparse.ArgumentParser]:
    commands = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(commands.choices)


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(text: str, heading: str) -> str:
    """What stands below a heading, to the next one."""
    _, _, below = text.partition(f"\n{heading}\n")
    assert below, f"there is no heading {heading}"
    return re.split(r"^#", below, maxsplit=1, flags=re.MULTILINE)[0]


# ---- the reference is whole -----------------------------------------------------------------------------


def test_every_command_is_documented() -> None:
    text = read("docs/reference.md")

    assert [name for name in parsers() if f"| `seedlab {name}" not in text] == []


def test_every_flag_is_documented_with_the_commands_that_take_it() -> None:
    rows = re.findall(
        r"^\| (`-.+?) \| (.+?) \|", section(read("docs/reference.md"), "### Flags"), re.MULTILINE
    )
    documented = {
        (flag, command)
        for flags, commands in rows
        for flag in re.findall(r"`(--?[a-z-]+)", flags)
        for command in (parsers() if commands == "all" else commands.split(", "))
    }

    taken = {
        (flag, name)
        for name, parser in parsers().items()
        for action in parser._actions
        if action.help != argparse.SUPPRESS and action.dest != "help"
        for flag in action.option_strings
    }
    assert documented == taken


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("### `[project]`", "project"),
        ("### `[targets.NAME]`", "target"),
        ("### `[environments.NAME]`", "environment"),
        ("### `[settings]`", "settings"),
        ("### `[[stages]]`", "stage"),
        ("### `[[stages.seeds]]`", "seed"),
        ("### `[stages.seeds.tables]`", "table"),
    ],
)
def test_every_key_is_documented_as_the_schema_has_it(heading: str, table: str) -> None:
    told = section(read("docs/reference.md"), heading)
    documented = set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE))

    properties = SCHEMA["$defs"][table]["properties"]
    defaults = {name: str(each["default"]) for name, each in properties.items() if "default" in each}
    assert documented == set(properties) == set(KEYS[table])
    for name, default in defaults.items():
        line = next(line for line in told.splitlines() if line.startswith(f"| `{name}` |"))
        assert default.lower() in line.split("|")[3], name


def test_every_condition_exit_code_and_public_name_is_documented() -> None:
    text = read("docs/reference.md")

    assert [kind for kind in KINDS if f"| `{kind}:" not in text] == []
    assert re.findall(r"^\| (\d+) \|", section(text, "### Exit codes"), re.MULTILINE) == [
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "130",
    ]
    assert [
        name for name in seedlab.__all__ if not re.search(rf"`{name}[`(]", section(text, "## Python"))
    ] == []


def test_every_switch_tells_how_to_see_it_and_how_to_do_without() -> None:
    text = read("docs/troubleshooting.md")

    for name in ("cache", "flatten", "parallel", "copy", "rebuild", "multi-row", "incremental"):
        told = section(text, f"### {name}")
        assert all(f"**{what}**" in told for what in ("Does", "See it", "Without it")), name


def test_the_contract_of_a_dialect_is_told_whole() -> None:
    told = section(read("docs/design.md"), "## A third dialect").partition("A new one needs")[0]

    contract = {name for name in vars(Session) if not name.startswith("_")}
    assert contract - {*re.findall(r"`(\w+)`", told)} == set()


# ---- what the documents show works ----------------------------------------------------------------------


@named
def test_every_command_line_is_one_the_tool_understands(document: Path) -> None:
    for words in seedlab_calls(document.read_text("utf-8")):
        build_parser().parse_args(words)


def test_the_two_commands_are_those_of_the_requirement() -> None:
    assert [line for block in blocks(read("README.md"), "sh") for line in block.splitlines()] == [
        "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[embedded]' && python -m seedlab seed",
        "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[dev]' && pytest",
    ]


@named
def test_every_toml_block_has_only_keys_that_exist(document: Path) -> None:
    for block in blocks(document.read_text("utf-8"), "toml"):
        found = tomllib.loads(block)
        assert set(found) <= set(KEYS["file"])
        for stage in found.get("stages", []):
            assert set(stage) <= set(KEYS["stage"])
            for seed in stage["seeds"]:
                assert set(seed) <= set(KEYS["seed"])
                assert all(set(each) <= set(KEYS["table"]) for each in seed.get("tables", {}).values())


@named
def test_every_python_block_compiles(document: Path) -> None:
    for block in blocks(document.read_text("utf-8"), "python"):
        compile(block, document.name, "exec")


@named
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in _LINK.finditer(document.read_text("utf-8")):
        file = document.parent / link["file"] if link["file"] else document
        assert file.exists(), link[0]
        assert link["anchor"] is None or link["anchor"] in anchors(file.read_text("utf-8")), link[0]


@named
def test_no_document_names_a_place_of_one_machine(document: Path) -> None:
    assert _MACHINE.findall(document.read_text("utf-8")) == []


def test_the_readme_tells_the_levels_as_they_were_measured() -> None:
    row = r"^\| (?:PostgreSQL \| )?`(\w+)`(?: \(default\))? \| (.+) \|$"
    (told,) = re.findall(r"<!-- levels -->\n(.*?)<!-- /levels -->", read("README.md"), re.DOTALL)
    measured = dict(re.findall(row, read("docs/performance.md"), re.MULTILINE))

    shown = {name: cells.split(" | ")[1:] for name, cells in re.findall(row, told, re.MULTILINE)}
    assert shown == {name: measured[name].split(" | ")[:3] for name in shown}
    assert len(shown) == 5


def test_the_tutorials_files_make_the_project_that_it_shows(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in FILE.finditer(read("docs/tutorial.md")):  # a later text replaces an earlier one
        path = tmp_path / file["name"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(file["text"], "utf-8")
    execute(postgres_url, (tmp_path / "schema.sql").read_text("utf-8"))
    monkeypatch.chdir(tmp_path)

    codes, outcomes = [], []
    for _ in range(2):
        codes.append(main(["seed", "data", "--database-url", postgres_url, "--json", "--force"]))
        outcomes.append(json.loads(capsys.readouterr().out)["outcomes"])

    assert codes == [0, 0]
    assert [(each["created"], each["unchanged"]) for each in outcomes] == [(25, 0), (0, 25)]
    query = (
        "SELECT p.sku, p.price, string_agg(c.slug, ' ' ORDER BY c.slug) FROM products p "
        "JOIN product_categories l ON l.product_id = p.id JOIN categories c ON c.id = l.category_id "
        "GROUP BY 1, 2 ORDER BY 1"
    )
    assert [(sku, str(price), slugs) for sku, price, slugs in rows_of(postgres_url, query)] == [
        ("CHA-1", "13.50", "white wine"),
        ("MER-1", "12.50", "red"),
        ("SOA-1", "9.90", "white wine"),
        ("SYR-1", "14.95", "red wine"),
    ]
    assert rows_of(postgres_url, "SELECT count(*), sum(quantity) FROM order_lines") == [(4, 21)]
