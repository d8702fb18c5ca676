"""The words of an SQL statement as MariaDB's lexer would cut them: comments dropped, quoting understood.

It knows no grammar, and never fails: what is cut off in the middle of a quote or a comment ends there. The server's
default sql_mode is assumed: a backslash escapes.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple


class Kind(Enum):
    WORD = auto()
    """A keyword, a name or a number."""
    QUOTED = auto()
    """A name in backticks."""
    TEXT = auto()
    """A literal in single or double quotes; in sql_mode ANSI_QUOTES the latter is a name."""
    SIGN = auto()


class Token(NamedTuple):
    kind: Kind
    source: str
    """As it stands in the statement."""
    start: int

    @property
    def word(self) -> str:
        """In capitals, to be compared with keywords; empty for anything in quotes."""
        return "" if self.kind in {Kind.QUOTED, Kind.TEXT} else self.source.upper()

    @property
    def name(self) -> str:
        """What the token means as an identifier; empty when it can't be one."""
        if self.kind is Kind.WORD:
            return self.source
        quote = self.source[0]
        if self.kind is Kind.SIGN or quote == "'":
            return ""
        return self.source[1:].removesuffix(quote).replace(quote * 2, quote)


# A versioned comment (/*!50100 ... */) is code: only its delimiters are skipped.
_TOKEN = re.compile(
    r"""
      (?: \s+ | \#[^\n]* | --(?=\s|\Z)[^\n]* | /\*M?!\d* | /\*.*?(?:\*/|\Z) | \*/ )
    | (?P<TEXT> '(?:[^'\\]+|\\.|'')*'? | "(?:[^"\\]+|\\.|"")*"? )
    | (?P<QUOTED> `(?:[^`]+|``)*`? )
    | (?P<WORD> [\w$]+ )
    | (?P<SIGN> . )
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(sql: str) -> list[Token]:
    return [Token(Kind[match.lastgroup], match[0], match.start()) for match in _TOKEN.finditer(sql) if match.lastgroup]
