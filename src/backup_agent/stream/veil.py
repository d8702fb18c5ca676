"""Hides what lies in the spool: AES-256 in counter mode, by a key that is made for one backup and never leaves memory.

Against who reads the disk, then or later; a byte that was changed there is noticed by those who read it back. Counter
mode costs next to nothing while tables are locked, and its bytes are as many as the clear ones.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

_KEY: Final = 32
_HALF: Final = 8
"""Bytes of a counter block that number the file; the others count the blocks in it."""


class Veil:
    """Of one spool. Safe from any thread."""

    def __init__(self) -> None:
        self._key = AES(os.urandom(_KEY))

    def over(self, number: int) -> Stretch:
        """From the start of file `number`. A number is used for the bytes of one file only, however often."""
        counter = CTR(number.to_bytes(_HALF, "big") + bytes(_HALF))
        return Stretch(Cipher(self._key, counter).encryptor())  # which in this mode is the decryptor as well


class Stretch:
    """Turns the bytes of one file, from its first to its last, from clear to hidden or back. For one thread."""

    def __init__(self, context: CipherContext) -> None:
        self._context = context
        self._buffer = bytearray()

    def turn(self, piece: bytes | bytearray | memoryview) -> memoryview:
        """Good until the next one."""
        size = len(piece)
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        self._context.update_into(piece, self._buffer)
        return memoryview(self._buffer)[:size]
