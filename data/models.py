"""The academy's tables: universities down to the answers of exam questions."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def identity() -> sa.Column:
    """Return the primary key of an entity; whoever inserts a row makes its id."""
    return sa.Column("id", sa.Uuid, primary_key=True)


def reference(name: str, table: str, *, nullable: bool = False, index: bool = True) -> sa.Column:
    """Return a foreign key to `table`; it needs no index where it leads a unique key."""
    return sa.Column(name, sa.ForeignKey(f"{table}.id"), nullable=nullable, index=index)


def position() -> sa.Column:
    """Return the place of a row among its siblings, from 1."""
    return sa.Column(
        "position", sa.SmallInteger, sa.CheckConstraint("position >= 1", "position"), nullable=False
    )


def one_of(column: str, *values: str) -> sa.CheckConstraint:
    """Return a check that `column` holds one of `values`."""
    return sa.CheckConstraint(f"{column} IN ({', '.join(map(repr, values))})", column)


translations = sa.Table(
    "translations",
    metadata,
    identity(),
    sa.Column("en_text", sa.Text, nullable=False, unique=True),
    sa.Column("he_text", sa.Text, nullable=False),
    sa.Column("context", sa.String(40)),
)

universities = sa.Table(
    "universities",
    metadata,
    identity(),
    sa.Column("slug", sa.String(64), nullable=False, unique=True),
    reference("name_id", "translations"),
    reference("city_id", "translations"),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("founded", sa.SmallInteger),
    sa.Column("latitude", sa.Double),
    sa.Column("longitude", sa.Double),
    sa.Column("website", sa.Text),
    one_of("kind", "university", "college"),
    sa.CheckConstraint("latitude BETWEEN -90 AND 90", "latitude"),
    sa.CheckConstraint("longitude BETWEEN -180 AND 180", "longitude"),
)

faculties = sa.Table(
    "faculties",
    metadata,
    identity(),
    reference("university_id", "universities", index=False),
    sa.Column("code", sa.String(32), nullable=False),
    reference("name_id", "translations"),
    sa.UniqueConstraint("university_id", "code"),
)

disciplines = sa.Table(
    "disciplines",
    metadata,
    identity(),
    reference("faculty_id", "faculties", index=False),
    sa.Column("code", sa.String(32), nullable=False),
    reference("name_id", "translations"),
    sa.UniqueConstraint("faculty_id", "code"),
)

blocks = sa.Table(
    "blocks",
    metadata,
    identity(),
    sa.Column("code", sa.String(32), nullable=False, unique=True),
    reference("name_id", "translations"),
    position(),
)

courses = sa.Table(
    "courses",
    metadata,
    identity(),
    sa.Column("code", sa.String(32), nullable=False, unique=True),
    reference("discipline_id", "disciplines"),
    reference("name_id", "translations"),
    reference("block_id", "blocks", nullable=True),
    sa.Column("credits", sa.Numeric(3, 1), nullable=False),
    sa.Column("level", sa.SmallInteger),  # 1 to 3: years of a first degree, 4: master, 5: doctorate
    sa.Column("reviewed_at", sa.DateTime(timezone=True)),
    sa.Column("tags", Json),
    sa.CheckConstraint("credits > 0", "credits"),
    sa.CheckConstraint("level BETWEEN 1 AND 5", "level"),
)

course_prerequisites = sa.Table(
    "course_prerequisites",
    metadata,
    sa.Column("course_id", sa.ForeignKey("courses.id"), primary_key=True),
    sa.Column("prerequisite_id", sa.ForeignKey("courses.id"), primary_key=True, index=True),
    sa.CheckConstraint("course_id <> prerequisite_id", "not_itself"),
)

degrees = sa.Table(
    "degrees",
    metadata,
    identity(),
    sa.Column("code", sa.String(48), nullable=False, unique=True),
    reference("discipline_id", "disciplines"),
    reference("name_id", "translations"),
    sa.Column("level", sa.String(12), nullable=False),
    sa.Column("credits_required", sa.Numeric(5, 1)),  # a doctorate asks for research, not for credits
    one_of("level", "bachelor", "master", "doctorate"),
    sa.CheckConstraint("credits_required > 0", "credits_required"),
)

degree_courses = sa.Table(
    "degree_courses",
    metadata,
    sa.Column("degree_id", sa.ForeignKey("degrees.id"), primary_key=True),
    sa.Column("course_id", sa.ForeignKey("courses.id"), primary_key=True, index=True),
    reference("block_id", "blocks"),
    sa.Column("year", sa.SmallInteger, nullable=False),
    sa.CheckConstraint("year BETWEEN 1 AND 7", "year"),
)

modules = sa.Table(
    "modules",
    metadata,
    identity(),
    reference("course_id", "courses", index=False),
    position(),
    reference("title_id", "translations"),
    reference("block_id", "blocks", nullable=True),
    sa.UniqueConstraint("course_id", "position"),
)

questions = sa.Table(
    "questions",
    metadata,
    identity(),
    sa.Column("code", sa.String(48), nullable=False, unique=True),
    reference("module_id", "modules"),
    sa.Column("stem", sa.Text, nullable=False),
    sa.Column("stem_he", sa.Text),
    sa.Column("difficulty", sa.Numeric(3, 2), nullable=False),
    sa.Column("attributes", Json),
    sa.CheckConstraint("difficulty BETWEEN 0 AND 1", "difficulty"),
)

question_parts = sa.Table(
    "question_parts",
    metadata,
    identity(),
    reference("question_id", "questions", index=False),
    position(),
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("formula", sa.String(64), nullable=False),  # the rule that gives the correct answer …
    sa.Column("parameters", Json, nullable=False),  # … and its arguments: SI units, angles in degrees
    sa.Column("points", sa.Numeric(4, 1), nullable=False),
    sa.UniqueConstraint("question_id", "position"),
    sa.CheckConstraint("points > 0", "points"),
)

answers = sa.Table(
    "answers",
    metadata,
    identity(),
    reference("question_part_id", "question_parts", index=False),
    position(),
    sa.Column("text", sa.Text, nullable=False),  # the value to four significant digits, with its unit
    sa.Column("value", sa.Double),  # none where the answer is not a number
    sa.Column("unit", sa.String(24)),  # none without a value, empty for a pure number
    sa.Column("correct", sa.Boolean, nullable=False),
    sa.UniqueConstraint("question_part_id", "position"),
)
