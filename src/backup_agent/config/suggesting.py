"""For a key that the configuration does not know: the one that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_ALIKE = 0.7
"""Of 1, as `difflib` counts."""


def suggestions(model: type[BaseModel], error: ValidationError) -> Iterator[str]:
    """`a.b: did you mean c.d?` for each unknown key that resembles one of `model`'s, or lacks the name of a section."""
    known = list(_keys(model))
    for entry in error.errors(include_url=False, include_context=False, include_input=False):
        if entry["type"] == "extra_forbidden":
            key = ".".join(map(str, entry["loc"]))
            meant = next(iter(_deeper(key, known)), None) or _alike(key, known)
            if meant is not None:
                yield f"{key}: did you mean {meant}?"


def _deeper(key: str, known: list[str]) -> list[str]:
    """Those of the same name in sections of this one, whose header was left out."""
    section, dot, name = key.rpartition(".")
    return [other for other in known if other.startswith(section + dot) and other.endswith(f".{name}") and other != key]


def _alike(key: str, known: list[str]) -> str | None:
    """That of the same section whose name resembles this one's most."""
    section, dot, name = key.rpartition(".")
    names = [other.removeprefix(section + dot) for other in known if other.rpartition(".")[0] == section]
    closest = difflib.get_close_matches(name, names, n=1, cutoff=_ALIKE)
    return f"{section}{dot}{closest[0]}" if closest else None


def _keys(model: type[BaseModel], *sections: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = [one for one in _parts(field.annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
        for section in inner:
            yield from _keys(section, *sections, name)
        yield ".".join([*sections, name])


def _parts(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401 - any type's annotation
    """Of a union such as `Section | None`, or the annotation itself."""
    return get_args(annotation) or (annotation,)
