"""A statement as it may be shown: in one line, without comments, short, and with its passwords blanked.

Other values that it holds are shown.
"""

from __future__ import annotations

from itertools import pairwise

from backup_agent.instance.tokens import Kind, Token, tokens

SHOWN_CHARACTERS = 200
_BLANK = "'...'"
_PARTS_OF_SECRETIVE_NAMES = ("PASSW", "SECRET", "CRYPT")
_SECRETIVE_WORDS = frozenset({"IDENTIFIED", "ENCODE", "DECODE"})
"""The functions take a key."""


def shown(sql: str) -> str:
    """At most SHOWN_CHARACTERS. Where any word speaks of passwords or keys, every literal is blanked: which of
    `INSERT INTO users (name, password) VALUES (...)` is the password, only a parser could tell.
    """
    words = tokens(sql)
    secretive = any(_is_secretive(token) for token in words)
    line = ""
    for before, token in pairwise([Token(Kind.SIGN, "", 0), *words]):
        gap = " " if line and token.start > before.start + len(before.source) else ""
        line += gap + (_BLANK if secretive and _is_literal(token) else " ".join(token.source.split()))
        if len(line) > SHOWN_CHARACTERS:
            return f"{line[: SHOWN_CHARACTERS - 3]}..."
    return line


def _is_secretive(token: Token) -> bool:
    name = token.name.upper()
    return name in _SECRETIVE_WORDS or any(part in name for part in _PARTS_OF_SECRETIVE_NAMES)


def _is_literal(token: Token) -> bool:
    return token.kind is Kind.TEXT or token.word.startswith("0X")
