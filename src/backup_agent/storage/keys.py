"""What a key may look like, the same for every store, so that backups can be moved between stores.

A key's parts are separated by single slashes. No part is empty or starts with a dot: that rules out `..`, and leaves
dot names to the stores for files of their own (and to file systems: `.snapshot`, `.nfs000...`).
"""

from __future__ import annotations


def is_part(name: str) -> bool:
    """Whether `name` can be one part of a key."""
    return name != "" and not name.startswith(".") and "/" not in name and "\0" not in name


def is_key(key: str) -> bool:
    return all(is_part(part) for part in key.split("/"))


def check_key(key: str) -> None:
    """Raises ValueError for what no store would take: an absolute key, an empty part, a part that starts with a dot."""
    if not is_key(key):
        msg = f"{key!r} is not a key: parts are separated by single slashes and start with no dot"
        raise ValueError(msg)


def check_prefix(prefix: str) -> None:
    """Raises ValueError unless some key could start with `prefix`, which may end anywhere, also within a part."""
    if prefix and not is_key(prefix + "x"):
        msg = f"{prefix!r} is not the start of any key"
        raise ValueError(msg)


def check_parent(prefix: str) -> None:
    """Raises ValueError unless `prefix` is empty or the start of a key that ends in a slash."""
    if not prefix.endswith("/") and prefix:
        msg = f"{prefix!r} must end in a slash"
        raise ValueError(msg)
    check_prefix(prefix)
