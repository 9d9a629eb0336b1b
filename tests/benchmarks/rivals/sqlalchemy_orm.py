"""SQLAlchemy's ORM: objects added by the batch, ids given, flushed together."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.orm import Session

from tests.benchmarks.material import Material
from tests.benchmarks.orm_baseline import mapped
from tests.benchmarks.rivals.contract import Rival
from tests.benchmarks.rivals.sqlalchemy_core import engine_of, loose, records


class SqlAlchemyOrm(Rival):
    name = "SQLAlchemy ORM, `add_all`"
    remark = "one transaction"
    pace = "slow"

    def prepare(self, material: Material, url: str, folder: Path) -> None:
        super().prepare(material, url, folder)
        self.metadata = loose(material.metadata)
        self.classes = mapped(self.metadata)

    def run(self) -> None:
        engine = engine_of(self.url)
        with Session(engine) as session:
            for table in self.metadata.sorted_tables:
                made = self.classes[table.name]
                for rows in records(self.material, table):
                    session.add_all([made(**row) for row in rows])
                    session.flush()
                    session.expunge_all()
            session.commit()
        engine.dispose()
