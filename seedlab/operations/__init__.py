"""What commands do besides seeding: grow and export projects, tell the ledger's state, foretell times."""
