"""Many new rows for a table that has rows, with its keys and indexes off around the merge and with all on.

500,000 rows are there; 5, 10, 20, 50 and 100 % as many are new. The ledger knows those before, so the run
reads them and sends the new ones. Both take turns from the same table, restored outside the clock. The threshold is off,
so that the crossover shows. Nothing else should run meanwhile; it takes some minutes.

    python -m tests.benchmarks.grow [--rows 500000] [--runs 3] [--shares 5,10,20,50,100] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from unittest import mock

import polars as pl
import psycopg

from seedlab import orchestrator
from seedlab.database import connect, postgres_grow
from seedlab.flow import Options, Run, Settings
from seedlab.insight.measuring.monitor import Monitor, phase_totals
from seedlab.plan.choices import ENVIRONMENTS
from seedlab.plan.project import load_project
from tests.benchmarks.bench import bench
from tests.benchmarks.figures import Figure, Result, alone, in_figures

PARENTS, TOPICS = 100_000, 5_000
TABLES = """
CREATE TABLE parents (id uuid PRIMARY KEY, code text NOT NULL UNIQUE);
CREATE TABLE topics (id uuid PRIMARY KEY, code text NOT NULL UNIQUE);
CREATE TABLE parts (
  id uuid PRIMARY KEY, parent_id uuid NOT NULL REFERENCES parents, position int NOT NULL,
  topic_id uuid NOT NULL REFERENCES topics, text text NOT NULL, UNIQUE (parent_id, position)
);
CREATE INDEX ON parts (topic_id)
"""
