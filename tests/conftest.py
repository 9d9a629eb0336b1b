"""What every test may use; fixtures live in the modules named here."""

import sys

# With this package jsonschema builds 38 grammars as it is imported, to check the format of IRIs, which none of our
# schemas has: 1.2 seconds of every worker.
sys.modules["rfc3987_syntax"] = None

pytest_plugins = [
    "tests.fix_postgres",
    "tests.fix_clean",
    "tests.fix_system",
    "tests.fix_academy",
    "tests.fix_arena",
    "tests.fix_clones",
]
