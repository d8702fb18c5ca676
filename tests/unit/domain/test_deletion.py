"""Which backups go with one, and what the objects of a backup are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_agent.domain.deletion import Doomed, Plan, with_dependants
from backup_agent.domain.objects import ObjectKind, kind_of

PARENTS = {"A": None, "b": "A", "c": "b", "d": "A", "E": None, "f": "E"}


def test_what_is_built_on_a_backup_goes_before_it() -> None:
    assert with_dependants("c", PARENTS) == ("c",)
    assert with_dependants("b", PARENTS) == ("c", "b")
    assert with_dependants("A", PARENTS) == ("c", "d", "b", "A")
    assert with_dependants("gone", PARENTS) == ("gone",)


NAMES = st.sampled_from("abcdefgh")


@given(NAMES, st.dictionaries(NAMES, st.one_of(st.none(), NAMES)))
def test_whatever_is_said_to_be_built_on_what_each_goes_once_and_none_before_what_is_built_on_it(
    target: str, parents: dict[str, str | None]
) -> None:
    order = with_dependants(target, parents)
    assert len(order) == len(set(order))
    assert order[-1] == target
    going = set(order)
    assert all((child in going) or parent not in going for child, parent in parents.items())
    for child, parent in parents.items():
        if parent in going and child != target and not _in_a_loop(child, parents):
            assert order.index(child) < order.index(str(parent))


def _in_a_loop(name: str, parents: dict[str, str | None]) -> bool:
    seen = {name}
    above = parents.get(name)
    while above is not None and above not in seen:
        seen.add(above)
        above = parents.get(above)
    return above is not None


def test_a_plan_survives_the_journal() -> None:
    plan = Plan(
        container="z",
        backups=(
            Doomed(
                id="61f12fef-edb1-4561-8122-e7c00ef26a82", chunks=3, suffix=".zst.age", backup={"size": 0.1, "x": None}
            ),
        ),
    )
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("manifest.json", ObjectKind.MANIFEST),
        ("manifest.json.sig", ObjectKind.SIGNATURE),
        ("verify/20261125T100000Z.json", ObjectKind.VERIFICATION),
        ("pin", ObjectKind.PIN),
        ("chunk-00000000", ObjectKind.CHUNK),
        ("chunk-00000012.zst.age", ObjectKind.CHUNK),
        ("attempt-00000001.json", ObjectKind.MARKER),
        ("chunk-1.zst", None),
        ("chunk-00000000.zst/x", None),
        ("verify/deep/er.json", None),
        ("manifest.json.bak", None),
        ("Pin", None),
        ("", None),
    ],
)
def test_an_object_is_known_by_its_name_alone(name: str, kind: ObjectKind | None) -> None:
    assert kind_of(name) is kind
