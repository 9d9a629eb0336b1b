"""psql's `\\copy` of a CSV file into each table."""

from __future__ import annotations

import subprocess

from tests.benchmarks.rivals.contract import Rival


class PsqlCopy(Rival):
    name = r"psql `\copy`"
    remark = "one transaction; the process counts"
    programs = ("psql",)

    def run(self) -> None:
        copies = [
            rf"""--command=\copy "{table.name}" from '{self.material.csv(table.name)}' (format csv, header)"""
            for table in self.material.tables
        ]
        command = ["psql", "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
        subprocess.run([*command, f"--dbname={self.url}", *copies], check=True)
