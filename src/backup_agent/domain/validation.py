"""What pydantic found wrong with an input, in words for the operator."""

from __future__ import annotations

from pydantic import ValidationError

_MOST = 10
"""Findings told of at most: an input may be wrong in a hundred thousand places."""
_LONGEST = 64
"""Characters of a key told of at most: keys come from outside, like values."""
_PREFIX = "Value error, "
"""Pydantic puts it before the words of our own validators."""


def explain(error: ValidationError, whole: str, *parents: str) -> str:
    """Each wrong key with its full path below `parents`, and why; `whole` stands for the input itself.

    Never shows a value: it may be a secret.
    """
    entries = error.errors(include_url=False, include_context=False, include_input=False)
    told = [
        f"{'.'.join([*parents, *(str(part)[:_LONGEST] for part in entry['loc'])]) or whole}: "
        f"{entry['msg'].removeprefix(_PREFIX)}"
        for entry in entries[:_MOST]
    ]
    if len(entries) > _MOST:
        told.append(f"and {len(entries) - _MOST} more")
    return "; ".join(told)
