"""Read and write PostgreSQL, through psycopg; never imports `sqlite`."""
