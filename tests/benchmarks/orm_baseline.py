"""The baseline: the academy through a SQLAlchemy Session, as application code often seeds.

For each row: select its parents by their natural keys, one select a hop; select the row by its key; add or
change it; flush. One transaction. The files are read with csv, json, yaml and, for Parquet, polars.

    python -m tests.benchmarks.orm_baseline URL        (tables are made if they are missing)
"""

from __future__ import annotations

import csv
import json
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
import yaml
from sqlalchemy.orm import Session, registry

from seedlab.database.models import load_metadata

DATA = Path(__file__).parents[2] / "data"

Record = dict[str, Any]

# What a row is known by. A name without a column of its own is the foreign key `<name>_id`.
KEYS: dict[str, tuple[str, ...]] = {
    "translations": ("en_text",),
    "universities": ("slug",),
    "faculties": ("university", "code"),
    "disciplines": ("faculty", "code"),
    "blocks": ("code",),
    "courses": ("code",),
    "course_prerequisites": ("course", "prerequisite"),
    "degrees": ("code",),
    "degree_courses": ("degree", "course"),
    "modules": ("course", "position"),
    "questions": ("code",),
    "question_parts": ("question", "position"),
    "answers": ("question_part", "position"),
}


# ---- reading --------------------------------------------------------------------------------------------


def read(pattern: str) -> list[Record]:
    """Read the files of a pattern as nested records."""
    return [record for path in sorted(DATA.glob(pattern)) for record in read_file(path)]


def read_file(path: Path) -> list[Record]:
    if path.suffix == ".parquet":
        return [nested(row) for row in pl.read_parquet(path).to_dicts()]
    text = path.read_text(encoding="utf-8")
    match path.suffix:
        case ".json":
            return json.loads(text)
        case ".jsonl":
            return [json.loads(line) for line in text.splitlines()]
        case ".yaml":
            return yaml.load(text, Loader=yaml.CSafeLoader)
    return [nested(row) for row in csv.DictReader(text.splitlines())]


def nested(row: Record) -> Record:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`; an empty field is None, and so is a parent with nothing but those."""
    record: Record = {}
    for name, value in row.items():
        *above, last = name.split(".")
        if above and value in ("", None):
            record.setdefault(above[0], None)
            continue
        inner = record
        for step in above:
            inner = inner.setdefault(step, {})
        inner[last] = None if value == "" else value
    return record


def rows() -> Iterator[tuple[str, Record]]:
    """Every row with its table, parents before children."""
    for table, pattern in (
        ("translations", "00-core/translations.csv"),
        ("universities", "01-institutions/universities.yaml"),
        ("faculties", "01-institutions/faculties.csv"),
        ("disciplines", "02-academic-structure/disciplines.csv"),
        ("blocks", "02-academic-structure/blocks.yaml"),
    ):
        yield from ((table, record) for record in read(pattern))
    courses = read("03-courses/*/courses.*")
    yield from (("courses", course) for course in courses)
    yield from (("course_prerequisites", link) for link in read("03-courses/*/course_prerequisites.csv"))
    for course in courses:
        for code in course.get("prerequisites", ()):
            yield "course_prerequisites", {"course": course, "prerequisite": {"code": code}}
    degrees = read("04-degrees/*.json")
    yield from (("degrees", degree) for degree in (*read("04-degrees/degrees.csv"), *degrees))
    yield from (("degree_courses", link) for link in read("04-degrees/degree_courses.parquet"))
    for degree in degrees:
        yield from (("degree_courses", {"degree": degree, **link}) for link in degree["courses"])
    yield from learning_rows()


def learning_rows() -> Iterator[tuple[str, Record]]:
    """Modules, questions, parts and answers."""
    yield from (("modules", module) for module in read("05-modules/modules.csv"))
    questions = []
    for module in read("05-modules/physics/*.json"):
        yield "modules", module
        questions += [{"module": module, **question} for question in module["questions"]]
    for question in (*questions, *read("06-questions/*")):
        yield "questions", question
        for number, part in enumerate(question["parts"], start=1):
            placed = {"question": question, "position": number, **part}
            yield "question_parts", placed
            for place, answer in enumerate(part["answers"], start=1):
                yield "answers", {"question_part": placed, "position": place, **answer}


# ---- writing --------------------------------------------------------------------------------------------


class Seeder:
    """Rows into a session, one at a time."""

    def __init__(self, session: Session, metadata: sa.MetaData, classes: dict[str, type]) -> None:
        self.session = session
        self.tables = metadata.tables
        self.classes = classes

    def find(self, table: str, record: Record) -> Any:
        """Select a row by its natural key, and for that, hop by hop, its parents."""
        return self.select(table, self.values(table, {name: record[name] for name in KEYS[table]}))

    def select(self, table: str, key: Record) -> Any:
        return self.session.scalars(sa.select(self.classes[table]).filter_by(**key)).one_or_none()

    def values(self, table: str, record: Record) -> Record:
        """Columns of the table that a record gives; each parent is selected, once."""
        columns = self.tables[table].columns
        found: Record = {}
        for name, value in record.items():
            if name in columns:
                found[name] = converted(value, columns[name].type)
            elif f"{name}_id" in columns:
                (key,) = columns[f"{name}_id"].foreign_keys
                found[f"{name}_id"] = None if value is None else self.find(key.column.table.name, value).id
        return found

    def seed(self, table: str, record: Record) -> None:
        """Add the row, or change the one that has its key."""
        values = self.values(table, record)
        names = (name if name in values else f"{name}_id" for name in KEYS[table])
        row = self.select(table, {name: values[name] for name in names})
        if row is None:
            made = {"id": uuid.uuid4()} if "id" in self.tables[table].columns else {}
            self.session.add(self.classes[table](**made, **values))
        else:
            for name, value in values.items():
                setattr(row, name, value)
        self.session.flush()


def converted(value: Any, kind: sa.types.TypeEngine[Any]) -> Any:
    if value is None:
        return None
    if isinstance(kind, sa.JSON):
        return json.loads(value) if isinstance(value, str) else value
    if isinstance(kind, sa.DateTime):
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(kind, sa.Numeric) and kind.asdecimal:
        return Decimal(str(value))
    return kind.python_type(value)


def mapped(metadata: sa.MetaData) -> dict[str, type]:
    """A class for each table, with plain columns."""
    mapper = registry(metadata=metadata)
    classes = {}
    for name, table in metadata.tables.items():
        classes[name] = type(name, (), {"__init__": set_attributes})
        mapper.map_imperatively(classes[name], table)
    return classes


def set_attributes(self: object, **values: Any) -> None:
    for name, value in values.items():
        setattr(self, name, value)


def seed_with_orm(url: str, *, create: bool = False) -> float:
    """Seed and commit; answer the seconds from opening the first file to the end of the commit.

    Connecting and reading the files count, as they do for seedlab; mapping the classes does not.
    """
    metadata = load_metadata(DATA, "models.py:metadata")
    classes = mapped(metadata)
    engine = sa.create_engine(sa.make_url(url).set(drivername=driver(url)))
    if create:
        metadata.create_all(engine)
        engine.dispose()
    began = time.perf_counter()
    with Session(engine) as session:
        seeder = Seeder(session, metadata, classes)
        for table, record in rows():
            seeder.seed(table, record)
        session.commit()
    seconds = time.perf_counter() - began
    engine.dispose()
    return seconds


def driver(url: str) -> str:
    return "sqlite" if url.startswith("sqlite") else "postgresql+psycopg"


if __name__ == "__main__":
    print(f"{seed_with_orm(sys.argv[1], create=True):.3f} s")
