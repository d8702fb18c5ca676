"""The body of a request as botocore and urllib3 read it: in views, where `BytesIO` would make a copy of every block."""

from __future__ import annotations

import os


class Body:
    """A binary file to be read and rewound. `len` tells botocore the size of the whole."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._whole = memoryview(data)
        self._position = 0

    def __len__(self) -> int:
        return self._whole.nbytes

    def __bool__(self) -> bool:
        """Also an empty body is one."""
        return True

    def read(self, size: int = -1) -> memoryview:
        """At most `size` bytes, or what is left; an empty view at the end."""
        piece = self._whole[self._position : None if size < 0 else self._position + size]
        self._position += piece.nbytes
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new position. Raises ValueError for a negative `offset` from the beginning."""
        if whence == os.SEEK_SET and offset < 0:
            msg = f"{offset} is no place in a body"
            raise ValueError(msg)
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self)}[whence]
        self._position = max(origin + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position
