"""Random streams, most of them near to what an engine under DDL writes, from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.unit.stream.records import REWRITE, closing, end, payload, record, remove, rename, seek

PATHS = ("a", "b", "d/a", "d/b", "e/a", "t.ibd", "d/t.ibd")
NEW_PATHS = (*PATHS, *PATHS, "./a", "./d/a", "d", "e", "d/s")
ODD_PATHS = ("./a", "d", "e", "d/s/a", ".a", "d//a", "d/../a", "d/./b", "a/b", "a/", "", "x/y/z", "\u00e9")


def random_stream(seed: int) -> bytes:
    """A stream of up to 25 records and the info file; one in ten is cut."""
    author = _Author(random.Random(seed))
    stream = closing(*author.write())
    if author.chance(0.1):
        return stream[: author.random.randrange(len(stream))]
    return stream


class _Author:
    """Knows roughly which files are open and closed, so that much of what it writes makes sense."""

    def __init__(self, random: random.Random) -> None:
        self.random = random
        self.wildness = random.choice((0.0, 0.0, 0.02, 0.1))
        self.opened: dict[str, int] = {}
        self.closed: set[str] = set()
        self.renamed_last = False

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def write(self) -> list[bytes]:
        moves: list[Callable[[], bytes]] = [self.start, self.start, self.start, self.go_on, self.close, self.close]
        moves += [self.remove, self.rename, self.rename, self.seek]
        records = [self.move(self.random.choice(moves)) for _ in range(self.random.randrange(1, 25))]
        if self.chance(0.95):
            if self.opened:
                records.append(self.go_on())
            records += [end(path) for path in self.opened]
        return records

    def move(self, sensible: Callable[[], bytes]) -> bytes:
        if self.chance(self.wildness):
            return self.wild()
        return sensible()

    def start(self) -> bytes:
        path = self.random.choice(PATHS)
        if path in self.opened:
            return self.go_on()
        known = path in self.closed
        if known and self.chance(0.3):
            self.closed.discard(path)
            return remove(path)
        data = self.data()
        self.closed.discard(path)
        self.opened[path] = len(data)
        self.renamed_last = False
        return payload(path, 0, data, flags=REWRITE if known or self.chance(0.1) else 0)

    def go_on(self) -> bytes:
        if not self.opened:
            return self.start()
        path = self.random.choice(list(self.opened))
        data = self.data()
        self.opened[path] += len(data)
        self.renamed_last = False
        return payload(path, self.opened[path] - len(data), data)

    def close(self) -> bytes:
        if self.renamed_last and self.chance(0.95):
            return self.go_on()
        if not self.opened or self.chance(0.05):
            return self.empty()
        path = self.random.choice(list(self.opened))
        del self.opened[path]
        self.closed.add(path)
        return end(path)

    def empty(self) -> bytes:
        path = self.random.choice(PATHS)
        self.opened.pop(path, None)
        flags = REWRITE if path in self.closed else 0
        self.closed.add(path)
        return end(path, flags=flags)

    def remove(self) -> bytes:
        path = self.random.choice(NEW_PATHS)
        if path in self.opened:
            return self.go_on()
        self.closed -= {path, path.removeprefix("./")} | {
            known for known in self.closed if known.startswith(path + "/")
        }
        return remove(path)

    def rename(self) -> bytes:
        old = self.random.choice([*self.closed, *PATHS])
        new = self.random.choice(NEW_PATHS)
        if self.chance(0.9) and (old in self.opened or new in self.opened):
            return self.go_on()
        if old in self.closed:
            self.closed.remove(old)
            self.closed.add(new.removeprefix("./"))
        self.renamed_last = True
        return rename(old, new)

    def seek(self) -> bytes:
        path = self.random.choice([*self.opened, "a"])
        if path not in self.opened or self.chance(0.5):
            return self.go_on()
        self.opened[path] = self.random.randrange(self.opened[path] + 1)
        return seek(path, self.opened[path])

    def wild(self) -> bytes:
        path = self.random.choice((*PATHS, *ODD_PATHS))
        flags = self.random.choice((0, 0, 0, 1, REWRITE, 3, 4))
        return self.random.choice(
            (
                lambda: payload(path, self.random.randrange(4), self.data(), flags=flags),
                lambda: payload(path, 0, b"12", crc=self.random.randrange(4)),
                lambda: end(path, flags=flags),
                lambda: remove(path or "none"),
                lambda: rename(path, self.random.choice(NEW_PATHS)),
                lambda: seek(path, self.random.randrange(5)),
                lambda: record(self.random.choice("PEDRSXx"), path, self.random.randbytes(3), flags=flags),
            )
        )()

    def data(self) -> bytes:
        return self.random.randbytes(self.random.choice((0, 1, 2, 5)))
