"""A store in memory that fails as a script of letters says, one letter a request.

`S` succeeds, `e` fails in a way that may pass, `c` too, with a damaged upload, `d` is denied for good. After the script
everything succeeds. A listing takes a letter when it begins and one at each entry.
"""

from __future__ import annotations

from collections.abc import Iterator

from backup_agent.errors import ErrorCode, MissingError, StoreError, TransientStoreError
from backup_agent.storage.interface import StoredObject

_FAULTS = {
    "e": (TransientStoreError, ErrorCode.STORE_UNREACHABLE),
    "c": (TransientStoreError, ErrorCode.UPLOAD_CORRUPT),
    "d": (StoreError, ErrorCode.STORE_DENIED),
}


class ScriptedStore:
    """Implements `Store`."""

    url = "scripted://store"

    def __init__(self, script: str = "") -> None:
        self.script = script
        self.objects: dict[str, bytes] = {}
        self.tries = 0

    def prepare(self, container: str) -> None:
        self._act(container)

    def put(self, key: str, body: bytes | bytearray, *, sha256: str | None = None, once: bool = False) -> None:
        del sha256, once
        self._act(key)
        self.objects[key] = bytes(body)

    def get(self, key: str, *, limit: int) -> bytes:
        self._act(key)
        if key not in self.objects:
            raise MissingError(ErrorCode.OBJECT_MISSING, f"no {key}", "Look elsewhere.")
        return self.objects[key][:limit]

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self._act(prefix)
        for key in sorted(self.objects):
            if key.startswith(prefix):
                self._act(key)
                yield StoredObject(key, len(self.objects[key]))

    def children(self, prefix: str) -> Iterator[str]:
        parents = {key.removeprefix(prefix).partition("/")[0] + "/" for key in self.objects if key.startswith(prefix)}
        self._act(prefix)
        for parent in sorted(parents):
            self._act(parent)
            yield parent.removesuffix("/")

    def delete(self, key: str) -> None:
        self._act(key)
        self.objects.pop(key, None)

    def _act(self, key: str) -> None:
        self.tries += 1
        letter, self.script = self.script[:1], self.script[1:]
        if letter in _FAULTS:
            kind, code = _FAULTS[letter]
            raise kind(code, f"{letter} at {key}", "Try again.")
