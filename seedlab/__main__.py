"""`python -m seedlab`: the command line."""

from seedlab.cli import main

raise SystemExit(main())
