"""Read and write SQLite, through the standard library's sqlite3; never imports `postgres`."""
