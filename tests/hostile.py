"""A thousand names that are to do no more than others: quotes, wildcards, SQL, NUL, halves of characters, `mysql`."""

from __future__ import annotations

import random

CHANCE = random.Random(7)
PIECES = (
    "'", '"', "`", "``", "\\", "\\'", "%", "_", "%s", "%(x)s", "{0}", ";", "--", "/*", "*/", "#", ",", ".", "/", "@",
    " ",
    "\0", "\n", "\t", "\x1a", "\x7f", "\u00a0", "\u200b", "\u2028", "\ufeff", "\u00e4", "\u5099", "\U0001f4be",
    "\ud800",
    "\uffff", "a", "B", "0", "mysql", "sys", "root", "localhost", "x`.* TO evil@`%", "'; DROP DATABASE kept; -- ",
    "` ; DROP DATABASE kept; -- ", "#mysql50#", "..", "lost+found", "\\_", "' IDENTIFIED BY 'x",
)  # fmt: skip
"""What names are made of."""
KNOWN = (
    "mysql", "MYSQL", "sys", "information_schema", "performance_schema", "lost+found", "#mysql50#mysql", ".", "..", "",
    " ", "a ", " a", "n" * 64, "n" * 65, "\u5099" * 64, "_" * 64, "%" * 40, "a" * 1024, "root", "kept",
)  # fmt: skip
HOSTILE = [*KNOWN, *("".join(CHANCE.choices(PIECES, k=CHANCE.randint(1, 5))) for _ in range(1000 - len(KNOWN)))]
