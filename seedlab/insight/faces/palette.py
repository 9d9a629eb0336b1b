"""One colour and one hatch for each phase, wherever it is drawn: Okabe and Ito's, told apart by everyone."""

from __future__ import annotations

from collections.abc import Mapping

from seedlab.flow import Phase

# Okabe & Ito 2008; large phases that follow each other lie far apart. A hatch helps in print and in grey
# (of lines: dots make a picture five times as large).
PHASE_COLOURS: Mapping[Phase, str] = {
    "read": "#56B4E9",
    "flatten": "#F0E442",
    "resolve": "#009E73",
    "stage": "#E69F00",
    "merge": "#0072B2",
    "index": "#CC79A7",
    "commit": "#D55E00",
}
PHASE_HATCHES: Mapping[Phase, str] = {
    "read": "",
    "flatten": "||",
    "resolve": "//",
    "stage": "\\\\",
    "merge": "",
    "index": "xx",
    "commit": "++",
}
# The convention of database tools: running is green, disk blue, locks red, waiting for the client orange.
WAIT_COLOURS: Mapping[str, str] = {
    "CPU": "#009E73",
    "IO": "#0072B2",
    "Lock": "#D55E00",
    "LWLock": "#CC79A7",
    "IPC": "#F0E442",
    "Client": "#E69F00",
}
WAIT_HATCHES: Mapping[str, str] = {
    "CPU": "",
    "IO": "//",
    "Lock": "xx",
    "LWLock": "++",
    "IPC": "||",
    "Client": "\\\\",
}
INK = "#222222"
CONTEXT = "#8C8C8C"  # what is there to compare with: before, usual, outside
PALE = "#E3E3E3"
ACCENT = "#0072B2"
WARNING = "#D55E00"
