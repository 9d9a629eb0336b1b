"""Measures runs, keeps their records, judges and displays them."""
