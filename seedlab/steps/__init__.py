"""The steps of a run, which put the four rooms together, in the order in which the orchestrator takes them.

    looking       connects, and reads the catalog and the ledger
    agenda        decides which stages run, and why
    preparing     reads files, makes rows of tables of their records, finds what every column means
    resolving     names and checks rows, asks the target which it has, assigns ids, plans the writes
    recalling     finds the rows of changed files that the ledger remembers as they are
    pipeline      prepares stages, from their files to named rows, and resolves the references of these
    reducing      prepares only what changed, where that is enough
    remembering   decides what the next run will know of rows, tables and stages
    writing       writes in one transaction, or in one for each stage
    parallel      has large loads staged by several connections
    reporting     says what became of every row

Each imports only from those above it. `previewing` and `undoing` are runs of another kind. `sampling` watches
a run while it lasts.
"""
