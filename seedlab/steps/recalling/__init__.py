"""Recalls what the ledger remembers, so that rows that did not change are neither checked nor written."""
