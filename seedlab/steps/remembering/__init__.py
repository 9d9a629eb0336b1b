"""What a run leaves in the ledger, for the next run: rows of each load, content of each table, each stage."""
