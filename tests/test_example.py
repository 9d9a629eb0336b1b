"""The example report in git: whole, as it was made by a real run, and silent about where that was."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "reports" / "example"
FILES = sorted(path for path in EXAMPLE.rglob("*") if path.is_file())
PLACE = re.compile(r"(?<![\w.])/(?:work|root|tmp|home|usr|var)/|host=|@[\w.-]+[:/]")


def test_it_is_whole() -> None:
    assert {path.relative_to(EXAMPLE).as_posix() for path in FILES} == {
        "figures/steps.svg",
        "report.html",
        "report.ipynb",
        "summary.json",
        "summary.md",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_names_no_place_of_the_machine_that_made_it(path: Path) -> None:
    assert PLACE.findall(re.sub(r"base64,[A-Za-z0-9+/=]+", "", path.read_text("utf-8"))) == []


def test_it_is_small_and_comes_from_a_real_profile() -> None:
    told = json.loads((EXAMPLE / "summary.json").read_text("utf-8"))

    assert (EXAMPLE / "report.html").stat().st_size < 500_000
    assert (told["notebook"], told["status"]) == ("02-profile-phases", "succeeded")
    variants = {each["variant"]: each["samples"] for each in told["result"]["variants"]}
    assert {"legacy", "bulk", "parallel", "copy", "incremental"} <= variants.keys()
    assert {len(samples) for samples in variants.values()} == {7}
    assert all(len(set(samples)) == 7 for samples in variants.values())
