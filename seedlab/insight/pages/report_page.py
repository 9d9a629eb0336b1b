"""Formats an executed notebook as a self-contained HTML page without scripts, with its code collapsed.

Imports nbconvert, which takes a second, so only `runner.py` imports this module, while a notebook runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from jinja2 import DictLoader
from nbconvert import HTMLExporter

# nbconvert's own pages load scripts and styles from other hosts; its template `basic` has only the body.
_CELLS = {
    "cells.html.j2": """{%- extends 'basic/index.html.j2' -%}
{%- block input -%}
<details class="code"><summary>code</summary>{{ super() }}</details>
{%- endblock input -%}"""
}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<main>
{head}
{body}
</main>
</body>
</html>
"""
_STYLE = """\
:root { color-scheme: light; --ink: #1c2024; --soft: #60646c; --line: #d9d9e0; --paper: #fff;
  --wash: #f6f6f8 }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; padding-top: .9rem; border-top: 1px solid var(--line) }
p { margin: .5rem 0; max-width: 46rem }
.parameters { color: var(--soft); font-size: .88rem }
.failure { background: #b3261e; color: #fff; padding: .7rem 1rem; border-radius: 4px; max-width: none;
  overflow-wrap: anywhere }
table { border-collapse: collapse; margin: .8rem 0; font-size: .9rem; font-variant-numeric: tabular-nums;
  display: block; overflow-x: auto }
th, td { padding: .28rem .8rem .28rem 0; border: solid var(--line); border-width: 0 0 1px; text-align: left;
  vertical-align: top }
table.dataframe { border: 0; font-size: .82rem }
pre { background: var(--wash); padding: .7rem .9rem; overflow-x: auto; border-radius: 4px;
  font: .82rem/1.5 ui-monospace, monospace; margin: .5rem 0 }
code { font: .88em ui-monospace, monospace }
figure { margin: 1rem 0 }
svg, img { max-width: 100%; height: auto }
details.code { font-size: .78rem; line-height: 1.35; color: var(--soft) }
details.code > summary { cursor: pointer; width: fit-content }
.output_error pre { border-left: 4px solid #b3261e }
.ansi-red-fg, .ansi-red-intense-fg { color: #b3261e }
.ansi-green-fg, .ansi-green-intense-fg { color: #1d6b3a }
.ansi-blue-fg, .ansi-blue-intense-fg, .ansi-cyan-fg, .ansi-cyan-intense-fg { color: #0b5394 }
.ansi-bold { font-weight: 600 }
.ansi-yellow-bg { background: #fdf1c4 }
@media (max-width: 40rem) { th, td { white-space: nowrap } figure { overflow-x: auto }
  figure img { max-width: none !important; width: 44rem !important } }
@media print { details.code { display: none } }"""


def page(notebook: Any, *, title: str, arguments: Mapping[str, object], failure: str | None) -> str:
    """Return the HTML of an executed notebook; `failure` says why it failed, if it did.

    A page of text and a few charts has less than 300 kB.
    """
    exporter = HTMLExporter(
        extra_loaders=[DictLoader(_CELLS)],
        template_file="cells.html.j2",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_notebook_node(notebook)
    return _PAGE.format(title=escape(title), style=_STYLE, head=_head(arguments, failure), body=body)


def _head(arguments: Mapping[str, object], failure: str | None) -> str:
    lines = [f'<p class="failure">✗ {escape(failure)}</p>'] if failure is not None else []
    if arguments:
        spelled = ", ".join(
            f"{escape(name)} = {escape(str(value)) or '(empty)'}" for name, value in arguments.items()
        )
        lines.append(f'<p class="parameters">Parameters: {spelled}.</p>')
    return "\n".join(lines)
