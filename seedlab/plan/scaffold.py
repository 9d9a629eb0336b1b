"""Writes the example project of `seedlab init DIR`, whose comments explain how a project works."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from seedlab.errors import ConfigurationError
from seedlab.plan.configuration import shown
from seedlab.plan.folder import FORMATS, format_of, is_ignored

# Formats that are table data wherever they occur; JSON and YAML files may be something else.
_TABLES = frozenset(FORMATS.values()) - {"json", "yaml"}
SCHEMA_FILE = ".seedlab.schema.json"
SCHEMA_LINE = f"#:schema ./{SCHEMA_FILE}"
TARGET_HINT = """\
# Where it is seeded: --database-url, or a name of your own. Variables keep passwords out of this file.
# [targets.staging]
# url = "${STAGING_URL}"
# environment = "test"
"""

_TOML = """\
#:schema ./.seedlab.schema.json
# The line above lets editors (Even Better TOML, taplo) complete and check this file, without a network.

[project]
name = {name}
schema = "models.py:metadata"        # missing tables are created from it

# Without a target, `seedlab seed` fills a PostgreSQL of its own. To name one:
# [targets.staging]
# url = "${STAGING_URL}"             # variables keep passwords out of this file
# environment = "test"

# development, test and production exist without being declared; production is protected.
[environments.test]
subset = { authors = 1 }             # the first author by key; the books of others are left out too

[settings]                           # flags (--lock-timeout) and variables (SEEDLAB_LOCK_TIMEOUT) override
lock_timeout = "10s"

[[stages]]
id = "people"
name = "People"

  [[stages.seeds]]
  name = "authors"                   # fills the table its file is named after; authors.id is made by seedlab
  source = "01-people/authors.csv"

[[stages]]
id = "library"
name = "Library"
dependencies = ["people"]            # checked against the foreign keys of the database

  [[stages.seeds]]
  name = "books"
  source = "02-library/*.yaml"       # a pattern, or a list of patterns
  tags = ["essential"]               # `seedlab seed -s tag:essential`

    [stages.seeds.tables]            # records inside records become rows of further tables
    books    = { path = "$", key = ["isbn"] }
    chapters = { path = "chapters", key = ["book", "position"], columns = { position = "$index" } }
"""

_MODELS = '''\
"""The tables of this project. Leave this file out if migrations make your tables."""

from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, UniqueConstraint, Uuid

metadata = MetaData()

authors = Table(
    "authors",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("slug", String(80), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("born", Integer),
)

books = Table(
    "books",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("isbn", String(17), nullable=False, unique=True),
    Column("title", String(200), nullable=False),
    Column("author_id", ForeignKey("authors.id"), nullable=False, index=True),
)

chapters = Table(
    "chapters",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("book_id", ForeignKey("books.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("title", String(200), nullable=False),
    UniqueConstraint("book_id", "position"),
)
'''

_AUTHORS = """\
slug,name,born
jane-austen,Jane Austen,1775
mary-shelley,Mary Shelley,1797
"""

_BOOKS = """\
# `author.slug` is a reference: the author with this slug. No ids in data files.
- isbn: 978-0-14-143951-8
  title: Pride and Prejudice
  author.slug: jane-austen
  chapters:
    - title: A truth universally acknowledged
    - title: A visit to Mr. Bingley
- isbn: 978-0-14-143947-1
  title: Frankenstein
  author.slug: mary-shelley
  chapters:
    - title: Letter 1
    - title: Letter 2
"""

_README = """\
# {name}

Seed data, and `seedlab.toml`, which says how it becomes rows.

    seedlab plan            # what would be done, and why; touches nothing
    seedlab seed            # do it, in a PostgreSQL of its own
    seedlab seed            # again: nothing to do
    seedlab seed --database-url postgresql://localhost/mine

Change a line in `01-people/authors.csv` and seed again: one row is updated, the others stay as they are.
"""


def schema_text() -> str:
    """Return the text of the JSON Schema of seedlab.toml."""
    return resources.files("seedlab.plan").joinpath("seedlab.schema.json").read_text("utf-8")


def files(name: str) -> Mapping[str, str]:
    """Return the contents of a new project's files, by their paths in it."""
    return {
        "seedlab.toml": _TOML.replace("{name}", json.dumps(name, ensure_ascii=False)),
        SCHEMA_FILE: schema_text(),
        "models.py": _MODELS,
        "01-people/authors.csv": _AUTHORS,
        "02-library/books.yaml": _BOOKS,
        "README.md": _README.replace("{name}", name),
    }


def refuse_data(directory: Path) -> None:
    """Raise ConfigurationError for a folder with data but no seedlab.toml.

    The folder is a project as it is, and the seedlab.toml of the scaffold would exclude its files.
    """
    found = directory.iterdir() if directory.is_dir() else ()
    data_files = sorted(
        each.name for each in found if format_of(each) in _TABLES and not is_ignored(each.name)
    )
    if data_files and not (directory / "seedlab.toml").exists():
        raise ConfigurationError(
            f"{shown(directory)} holds data already ({data_files[0]}), and is a project as it is: "
            f"see seedlab plan {shown(directory)}; what cannot be inferred goes into a seedlab.toml "
            "of your own"
        )


def write(directory: Path, files: Mapping[str, str]) -> None:
    """Write files into a folder. Raises ConfigurationError if one exists; nothing is overwritten."""
    if directory.exists() and not directory.is_dir():
        raise ConfigurationError(f"expected a folder at {shown(directory)}, found a file")
    existing = [name for name in files if (directory / name).exists() or (directory / name).is_symlink()]
    if existing:
        raise ConfigurationError(
            f"{shown(directory / existing[0])} already exists and is not overwritten; name another folder"
        )
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
