"""The engine's option file: how it reaches the server, password included, without touching a disk.

It lives in anonymous memory (memfd, mode 0600) that only the engine inherits, as `/proc/self/fd/N`: nothing to remove,
also after a kill -9, and nothing on a command line.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Login:
    """How the engine connects: by `socket`, or by TCP to `host` and `port`."""

    user: str
    socket: Path | None
    host: str
    port: int
    password: str | None = field(repr=False)


def client_options(login: Login, include: Path | None) -> str:
    """The text of the option file. `include` is another option file, such as the server's, for encryption keys."""
    lines = [f"!include {include}\n"] if include else []
    lines.append("[client]\n")
    lines.append(_option("user", login.user))
    if login.password is not None:
        lines.append(_option("password", login.password))
    if login.socket is not None:
        lines.append(_option("socket", login.socket))
    else:
        lines += [_option("host", login.host), _option("port", login.port), _option("protocol", "tcp")]
    return "".join(lines)


def _option(name: str, value: str | int | Path) -> str:
    """A line quoted so that any value arrives as it is: the server's rules, where a backslash begins an escape."""
    text = str(value)
    for character, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(character, escape)
    return f'{name}="{text}"\n'


class OptionFile:
    """`path` is valid in a child that inherits `descriptor`, until the context is left."""

    def __init__(self, text: str) -> None:
        self.descriptor = os.memfd_create("options", os.MFD_CLOEXEC)
        os.fchmod(self.descriptor, 0o600)
        os.write(self.descriptor, text.encode())

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self.descriptor}"

    def close(self) -> None:
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
