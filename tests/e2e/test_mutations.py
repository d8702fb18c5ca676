"""Thousands of changes of a stored chain, each by chance: every one is noticed before a byte of it is used."""

from __future__ import annotations

import random
import sys
from collections import Counter

import pytest

from backup_agent.domain.manifest import Manifest
from backup_agent.errors import BackupAgentError, ErrorCode, IntegrityError
from backup_agent.operations.catalogue import Catalogue
from backup_agent.operations.trust import Trust, no_memory
from backup_agent.stream.download import read_stream
from tests.e2e.mutations import FEW, MUTATIONS, forge_a_whole_chain, mutated
from tests.e2e.shelf import IDS, INSTANCE, Shelf, shelf

MANY, SOME = 75, 12
"""Mutations of each kind: on two chains (14 * 75 + 3 * 12) * 2 = 2,172."""


def read(made: Shelf, trust: Trust) -> None:
    """As a restore reads: the tip found, the chain resolved, each stream verified. What is given out must be ours."""
    catalogue = Catalogue(made.store, "c", trust)
    for link in catalogue.chain(catalogue.find(IDS[2], INSTANCE)):
        read_link(made, catalogue, link)


def read_link(made: Shelf, catalogue: Catalogue, link: Manifest) -> None:
    true, place = made.streams[link.id], catalogue.place(INSTANCE, link.id)
    position = 0
    for piece in read_stream(made.store, place, link, made.settings, made.identities):
        assert true[position : position + len(piece)] == piece
        position += len(piece)
    assert position == len(true)


def verdict(made: Shelf, trust: Trust) -> BackupAgentError | None:
    try:
        read(made, trust)
    except IntegrityError as error:
        return error
    return None


@pytest.fixture(scope="module", params=[False, True], ids=["clear", "encrypted"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return shelf(tmp_path_factory.mktemp("shelf"), encrypted=request.param)


def test_the_chain_itself_is_read(made: Shelf) -> None:
    assert verdict(made, made.trust) is None


def test_every_mutation_is_noticed(made: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    chance, trust = random.Random(5), made.trust
    unnoticed: list[str] = []
    counts: dict[str, Counter[ErrorCode]] = {}
    for change in MUTATIONS:
        codes = counts.setdefault(change.__name__.replace("_", " "), Counter())
        wanted = SOME if change in FEW else MANY
        for _ in range(2 * wanted):  # now and then one changes nothing, such as blanks over blanks
            if codes.total() == wanted:
                break
            with mutated(made, change, chance) as changed:
                error = verdict(made, trust)
            if error is not None:
                codes[error.code] += 1
            elif changed:
                unnoticed.append(change.__name__)
    with capsys.disabled():
        total = sum(codes.total() for codes in counts.values())
        sys.stdout.write(
            f"\n{total} mutations of {'an encrypted' if made.settings.recipients else 'a clear'} chain, all noticed:\n"
        )
        for name, codes in counts.items():
            found = ", ".join(f"{code} {count}" for code, count in codes.most_common())
            sys.stdout.write(f"  {codes.total():4} {name}: {found}\n")
    assert unnoticed == []
    assert total == SOME * len(FEW) + MANY * (len(MUTATIONS) - len(FEW))
    assert verdict(made, trust) is None


def test_a_forged_chain_is_told_by_its_signatures_alone(made: Shelf) -> None:
    """Whoever can write to the store can make a chain that is whole in itself: that is what signing is for."""
    chance = random.Random(1)
    with mutated(made, forge_a_whole_chain, chance):
        assert verdict(made, Trust(None, no_memory)) is None
        found = verdict(made, Trust(made.trust.signatures, no_memory))
    assert found is not None
    assert found.code in {ErrorCode.SIGNATURE_MISSING, ErrorCode.SIGNATURE_UNKNOWN_KEY}
