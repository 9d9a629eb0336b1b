"""Measurements, run by hand: `python -m tests.benchmarks.cold`. pytest does not collect them."""
