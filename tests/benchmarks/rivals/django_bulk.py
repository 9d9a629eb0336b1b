"""Django's `bulk_create`, over models like those `inspectdb` writes of the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from tests.benchmarks.material import Material
from tests.benchmarks.rivals.contract import Rival
from tests.benchmarks.rivals.forms import names_of, parts_of

BATCH = 10_000


class DjangoBulkCreate(Rival):
    name = "Django `bulk_create`"
    remark = "one transaction"
    pace = "slow"
    packages = ("django",)

    def prepare(self, material: Material, url: str, folder: Path) -> None:
        super().prepare(material, url, folder)
        import django
        from django.conf import settings
        from django.db import connections

        database = database_of(url)
        if not settings.configured:
            settings.configure(DATABASES={"default": database}, INSTALLED_APPS=[], USE_TZ=True)
            django.setup()
        connections["default"].close()
        connections["default"].settings_dict.update(database)
        self.models = models_of(material.metadata)

    def run(self) -> None:
        from django.db import connection, transaction

        with transaction.atomic():
            for table in self.material.tables:
                model, documents = self.models[table.name], names_of(table, sa.JSON)
                for frame in pl.read_parquet(self.material.parquet(table.name)).iter_slices(BATCH):
                    rows = frame.to_dicts()
                    for row in rows:
                        for name in documents:
                            row[name] = None if row[name] is None else json.loads(row[name])
                    model.objects.bulk_create([model(**row) for row in rows], batch_size=BATCH)
        connection.close()


def database_of(url: str) -> dict[str, Any]:
    parts = parts_of(url)
    parts["name"] = parts.pop("database")
    return {"ENGINE": "django.db.backends.postgresql", **{name.upper(): str(v) for name, v in parts.items()}}


_made: dict[str, Any] = {}  # Django keeps a model for as long as the process lives


def models_of(metadata: sa.MetaData) -> dict[str, Any]:
    for table in metadata.sorted_tables:
        if table.name not in _made:
            _made[table.name] = model_of(table)
    return _made


def model_of(table: sa.Table) -> Any:
    from django.db import models

    meta = type("Meta", (), {"app_label": "rival", "db_table": table.name, "managed": False})
    fields = {field_name(column): field(column) for column in table.columns}
    if len(table.primary_key) > 1:
        fields["pk"] = models.CompositePrimaryKey(*(column.name for column in table.primary_key))
    return type(table.name, (models.Model,), {"__module__": __name__, "Meta": meta, **fields})


def field_name(column: sa.Column) -> str:
    """A foreign key is named without `_id`, which Django adds again."""
    return column.name.removesuffix("_id") if column.foreign_keys else column.name


def field(column: sa.Column) -> Any:
    from django.db import models

    options = {"null": column.nullable}
    for key in column.foreign_keys:
        return models.ForeignKey(
            key.column.table.name, models.DO_NOTHING, related_name="+", db_column=column.name, **options
        )
    match column.type:
        case sa.Uuid():
            return models.UUIDField(primary_key=column.primary_key, **options)
        case sa.Boolean():
            return models.BooleanField(**options)
        case sa.SmallInteger():
            return models.SmallIntegerField(**options)
        case sa.Double():
            return models.FloatField(**options)
        case sa.Numeric() as kind:
            return models.DecimalField(max_digits=kind.precision, decimal_places=kind.scale, **options)
        case sa.DateTime():
            return models.DateTimeField(**options)
        case sa.JSON():
            return models.JSONField(**options)
    return models.TextField(**options)
