# ruff: noqa: RUF001
"""Texts that programs stumble over: each means itself, in every format and in every database."""

from __future__ import annotations

NAUGHTY = (
    # What other formats and languages take for nothing, numbers, or their own grammar.
    *("undefined", "nil", "None", "N/A", "-", "--", "---", "...", "#", "# x", "=1+1", "@x", "+1", "-1", "1/2"),
    *("1E+02", "0x1F", "0o17", "1_000", "1,000.00", "١٢٣", "１２", ".5", "5.", ".inf", ".nan", "-Infinity", "012"),
    *("yes", "off", "12:30:45", "2024-02-30", "<<", "=", "- a", "a: b", "*a", "&a", "!!str x", "? x", "| ", "> "),
    *("[", "]", "{", "}", "[1, 2]", '{"a": 1}', "%TAG", "`", "'", "''", '"', '""', '"""', ",", ";", "|", "\\", "\\\\"),
    # COPY's own marks, and what could end a line or a file.
    *("\\N ", "\\\\N", "\\.\n", "\n\\.\n", "a\n\\.\nb", "\\t", "\\x", "\\101", "\t", "\n", "\r", "\r\n", "\n\n", "\x0b"),
    *("\x0c", "\x1c", "\x1d", "\x1e", "\x1a", "\x7f", "\x80", "\u2029", "a\rb\r\nc\nd", "end\\", "end\t", "end\r"),
    # Injections.
    *("'; DROP TABLE notes; --", "1 OR 1=1", "$$", "$tag$ x $tag$", "E'\\n'", "${HOME}", "{{7*7}}", "%s%n%x", "%(a)s"),
    *("<script>alert(1)</script>", "&lt;&amp;", "]]>", "../../etc/passwd", "\x1b[31mred", "$(reboot)", "`id`"),
    # Blanks that are not to be trimmed, and characters without any width.
    *("  ", "\u00a0", " \u3000", "\u2003x\u2003", "\u180ex", "\u200b", "\u200c\u200d", "\u2060", "\ufeffx", "x\ufeff"),
    # Writing from right to left, with marks of direction; what is built of several characters.
    *("שָׁלוֹם", "abc \u202eעברית\u202c def", "\u2067שלום\u2069 (world)", "א\u05bc\u05b0", "مرحبا", "ا\u0654", "ı İ i I ß ẞ ﬁ"),
    *("👩‍👩‍👧‍👦", "👋🏽", "🏴\U000e0067\U000e0062\U000e007f", "❤\ufe0f", "e\u0301\u0323", "e\u0323\u0301", "\u0301 first", "Z\u0351\u036b\u0343\u036a\u0302"),
    *("\u212b", "\u00c5", "A\u030a", "가", "\u1100\u1161", "ﷺ", "ʼ", "\U00010348", "\U0010ffff", "\ufffd", "\uffff", "\ufdd0"),
    "x" * 100_000,
    "ש" * 1_000 + '"\\\n' * 100,
)  # fmt: skip
