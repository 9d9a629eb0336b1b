"""What every test may use; fixtures live in the modules named here."""

pytest_plugins = [
    "tests.fix_postgres",
    "tests.fix_clean",
    "tests.fix_system",
    "tests.fix_academy",
    "tests.fix_arena",
    "tests.fix_clones",
]
