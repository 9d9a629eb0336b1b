"""Django makes the tables, seedlab fills them, Django's ORM reads them and goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.recipe import Recipe

READ_AND_GO_ON = """
import json
import django
django.setup()
from school.models import Course, Degree, Note, Room
basic, advanced = Course.objects.order_by("code")
note = Note.objects.get()
found = {
    "degrees": [sorted(each.degrees.values_list("slug", flat=True)) for each in (basic, advanced)],
    "points": [str(each.points) for each in (basic, advanced)],
    "levels": [basic.level, advanced.level],
    "notes": [basic.notes, advanced.notes],
    "requires": [basic.requires, advanced.requires.code],
    "created": basic.created_at.isoformat(),
    "version": Degree.objects.get(slug="cs").id.version,
    "rooms": [str(each.open_from) for each in Room.objects.order_by("number")],
    "about": [note.text, str(note.about == Room.objects.get(number=101))],
}
room = Room.objects.create(building="South", number=1)
course = Course.objects.create(code="CS301", year=2026, points="3.0", requires=advanced)
course.degrees.add(Degree.objects.get(slug="econ"))
Note.objects.create(slug="new", text="new", about=room)
basic.save()  # raises its updated_at
print(json.dumps([found, room.id, course.id]))
"""


@pytest.mark.slow
def test_migrated_seeded_read_by_the_orm_and_gone_on_with(tmp_path: Path, database_url: str) -> None:
    recipe = Recipe("Django", tmp_path / "site", database_url)
    migrate, seed = recipe.commands
    settings = {"DJANGO_SETTINGS_MODULE": "settings"}
    recipe.run(migrate)
    if database_url.startswith("sqlite"):
        recipe.run("sed -i s/00Z/00/ data/seedlab.toml")
    recipe.run(seed)

    found, room, course = json.loads(recipe.run(f"python -c '{READ_AND_GO_ON}'", settings))

    assert found == {
        "degrees": [["cs", "econ"], ["cs"]],
        "points": ["5.0", "4.5"],
        "levels": ["basic", "basic"],
        "notes": [{}, {}],
        "requires": [None, "CS101"],
        "created": "2025-01-01T00:00:00+00:00",
        "version": 8,
        "rooms": ["08:00:00", "None"],
        "about": ['Smells of "chalk"', "True"],
    }
    assert (room, course) == (3, 3)
    assert recipe.seed() == {"unchanged": 10}
