"""Prepares loads: reads files, makes rows of tables of their records, and finds what every column means."""
