"""Reads, writes and finds the JSON records of runs and profiles."""
