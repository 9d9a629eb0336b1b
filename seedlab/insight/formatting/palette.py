"""The colours and hatches of phases and waits in all drawings: Okabe and Ito's colour-blind safe palette."""

from __future__ import annotations

from collections.abc import Mapping

from seedlab.flow import Phase

# Okabe & Ito 2008; large phases that follow each other have contrasting colours. Hatches help in greyscale
# print. They consist of lines, since dots make a picture five times as large.
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
# As is usual in database tools: running is green, disk blue, locks red, waiting for the client orange.
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
CONTEXT = "#8C8C8C"  # for what is shown only for comparison: before, usual, outside
PALE = "#E3E3E3"
SOFT = "#6A6A6A"  # small print
ACCENT = "#0072B2"
WARNING = "#D55E00"
