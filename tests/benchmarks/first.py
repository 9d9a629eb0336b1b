"""The first run of a process: import what a seed needs, seed once, print both times as JSON.

python -m tests.benchmarks.first URL
"""

from __future__ import annotations

import json
import sys
import time

began = time.perf_counter()

import polars_hash  # noqa: E402, F401
import psycopg  # noqa: E402, F401
import yaml  # noqa: E402, F401

from seedlab.steps.writing import transaction  # noqa: E402, F401 - all that works on rows
from tests.benchmarks import bench  # noqa: E402

imported = time.perf_counter()
run = bench.seed(sys.argv[1])
done = time.perf_counter()
print(json.dumps({"imports": imported - began, "seed": done - imported, "created": run.outcomes.created}))
