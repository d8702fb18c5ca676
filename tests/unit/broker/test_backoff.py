"""How long the agent waits before it tries again."""

from __future__ import annotations

from backup_agent.broker.backoff import Backoff


def test_waits_double_from_a_tenth_of_a_second_to_the_longest() -> None:
    backoff = Backoff(1.0, lambda: 1.0)

    assert [backoff.next() for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_jitter_takes_any_part_of_a_wait() -> None:
    fractions = iter([0.0, 0.5, 1.0])
    backoff = Backoff(30.0, lambda: next(fractions))

    assert [backoff.next() for _ in range(3)] == [0.0, 0.1, 0.4]


def test_after_a_success_waits_are_short_again() -> None:
    backoff = Backoff(30.0, lambda: 1.0)
    for _ in range(100):
        longest = backoff.next()
    backoff.reset()

    assert (longest, backoff.next()) == (30.0, 0.1)
