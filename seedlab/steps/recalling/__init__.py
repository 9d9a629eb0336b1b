"""The rows of files compared with what the ledger remembers of them: unchanged rows are not written."""
