"""Decides what the ledger remembers after a run: the rows of each load, the content of each table, stages."""
