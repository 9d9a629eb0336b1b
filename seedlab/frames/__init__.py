"""Read data files into polars frames, and validate and resolve their rows, without any database."""
