"""What a terminal shows of what it was sent: as far as the agent's progress bar makes use of one."""

from __future__ import annotations

import re

_PIECE = re.compile(r"\x1b\[(?P<parameters>[0-9;?]*)(?P<action>[A-Za-z])|(?P<plain>[^\x1b])", re.DOTALL)


def shown(text: str, columns: int) -> list[str]:
    """The lines of a terminal so wide, those that have left its top included; one that it wrapped is one line.

    Empty ones at the end are left out. Raises ValueError for movements of the cursor that are not known here.
    """
    screen = _Screen(columns)
    for piece in _PIECE.finditer(text):
        if piece["plain"] is not None:
            screen.put(piece["plain"])
        else:
            screen.act(piece["action"], piece["parameters"])
    return screen.lines()


class _Screen:
    """Every character takes one column."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._rows: list[list[str]] = [[]]
        self._wrapped: set[int] = set()
        self._row = self._column = 0

    def put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
            return
        if character == "\n":
            self._down()
            return
        if self._column == self._columns:
            self._down()
            self._wrapped.add(self._row)
            self._column = 0
        row = self._rows[self._row]
        row += " " * (self._column + 1 - len(row))
        row[self._column] = character
        self._column += 1

    def act(self, action: str, parameters: str) -> None:
        match action:
            case "A":
                self._row = max(0, self._row - int(parameters or 1))
            case "K":
                self._rows[self._row] = []
            case "m" | "h" | "l":  # colours, and whether the cursor is shown
                pass
            case _:
                msg = f"{action} with {parameters!r} is not known here"
                raise ValueError(msg)

    def lines(self) -> list[str]:
        lines: list[str] = []
        for number, row in enumerate(self._rows):
            if number in self._wrapped:
                lines[-1] += "".join(row)
            else:
                lines.append("".join(row))
        return "\n".join(line.rstrip() for line in lines).rstrip("\n").split("\n")

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append([])
