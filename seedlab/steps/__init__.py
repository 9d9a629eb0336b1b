"""The steps of a run, which put the four rooms together; the orchestrator calls them in this order.

    looking       connect, read the catalog and the ledger
    agenda        decide which stages run, and why
    preparing     read files, shape records into rows of tables, give every column its meaning
    resolving     name rows, check them, settle ids and the order of writes
    recalling     find the rows of changed files that the ledger remembers as they are
    pipeline      prepare stages, from their files to named rows, and resolve the references of these
    reducing      prepare only what changed, where that is enough
    remembering   what the next run will know: rows, tables, stages
    writing       the transaction, or one for each stage
    parallel      large loads staged by several connections
    reporting     what became of every row

Each imports from those above it only. `previewing` and `undoing` are runs of another kind, `sampling` watches
a run while it lasts.
"""
