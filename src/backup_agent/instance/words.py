"""A cursor over the words of a statement that can read names of tables and what stands in a FROM clause.

It never fails: names that are not where they should be are simply not found.
"""

from __future__ import annotations

from typing import NamedTuple

from backup_agent.instance.tokens import tokens

_END_OF_REFERENCES = frozenset(
    {"SET", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "FOR", "LOCK", "UNION", "INTERSECT", "EXCEPT", "WINDOW"}
    | {"INTO", "RETURNING", "PROCEDURE", ";"}
)
_NO_ALIAS = frozenset(
    {"ON", "USING", "JOIN", "STRAIGHT_JOIN", "INNER", "CROSS", "LEFT", "RIGHT", "OUTER", "NATURAL"}
    | {"PARTITION", "USE", "FORCE", "IGNORE"}
)
_QUERIES = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})


class Reference(NamedTuple):
    table: tuple[str, str]
    """Database, '' when none is named, and table."""
    alias: str


class Words:
    """Reads from left to right. Keywords are given in capitals."""

    def __init__(self, sql: str) -> None:
        self._tokens = tokens(sql)
        self._at = 0

    def peek(self, ahead: int = 0) -> str:
        """The keyword or sign there; '' for anything in quotes and past the end."""
        place = self._at + ahead
        return self._tokens[place].word if place < len(self._tokens) else ""

    def take(self) -> str:
        word = self.peek()
        self.skip()
        return word

    def skip(self) -> None:
        self._at += 1

    def accept(self, *words: str) -> bool:
        """Whether exactly these follow; then they are passed."""
        if any(self.peek(ahead) != word for ahead, word in enumerate(words)):
            return False
        self._at += len(words)
        return True

    def accept_any(self, *words: str) -> None:
        while self.peek() in words:
            self.skip()

    def holds(self, *words: str) -> bool:
        """Whether these stand one after another anywhere ahead."""
        ahead = range(len(self._tokens) - self._at)
        return any(all(self.peek(start + n) == word for n, word in enumerate(words)) for start in ahead)

    def skip_to(self, *words: str) -> None:
        """To the first of these outside of parentheses, or to the end."""
        while self._more() and self.peek() not in words:
            self._skip_one()

    def skip_past(self, word: str, *, inside: bool = False, before: tuple[str, ...] = ()) -> bool:
        """Beyond the next `word`, also one in parentheses when `inside`. False when it does not come, or one of
        `before` comes first; then the words up to there are passed.
        """
        while self._more() and self.peek() not in before:
            if self.accept(word):
                return True
            if inside:
                self.skip()
            else:
                self._skip_one()
        return False

    def name(self) -> list[tuple[str, str]]:
        """The table that is named here, as database ('' when none) and table; empty when there is none."""
        first = self._identifier()
        if not first:
            return []
        if self.peek() != ".":
            return [("", first)]
        self.skip()
        return [(first, second)] if (second := self._identifier()) else [("", first)]

    def names(self) -> list[tuple[str, str]]:
        """A list of them: `a, b.c`, `a TO b, c TO d`, and in a DELETE `a.*, b`."""
        found = self.name()
        while True:
            self.accept(".", "*")
            self.accept("*")  # `name` has passed the dot
            if not (self.accept(",") or self.accept("TO")):
                return found
            found += self.name()

    def references(self) -> list[Reference]:
        """The tables of a FROM clause, or of an UPDATE before its SET. Derived tables are left out: they are read."""
        found: list[Reference] = []
        opened = 0
        expected = True
        while self._more() and self.peek() not in _END_OF_REFERENCES:
            word = self.peek()
            if word == ")" and not opened:
                break
            if word == "(" and expected and self.peek(1) not in _QUERIES:
                opened += 1
                self.skip()
            elif word == ")":
                opened -= 1
                self.skip()
            elif expected and (table := self.name()):
                found.append(Reference(table[0], self._alias()))
                expected = False
            else:
                expected = word in {",", "JOIN", "STRAIGHT_JOIN"}
                self._skip_one()
        return found

    def _alias(self) -> str:
        self.accept("AS")
        if self.peek() in _NO_ALIAS | _END_OF_REFERENCES:
            return ""
        return self._identifier()

    def _identifier(self) -> str:
        if not self._more():
            return ""
        name = self._tokens[self._at].name
        if name:
            self.skip()
        return name

    def _skip_one(self) -> None:
        """A word, or everything in a pair of parentheses."""
        depth = 0
        while self._more():
            sign = self.take()
            depth += (sign == "(") - (sign == ")")
            if depth <= 0:
                return

    def _more(self) -> bool:
        return self._at < len(self._tokens)
