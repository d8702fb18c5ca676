"""Whether the server was last seen to run, whoever has looked."""

from __future__ import annotations

from backup_agent.instance.administration_sighting import SightedVitals, Sighting


class Server:
    """Vitals of a server that is up or down."""

    def __init__(self) -> None:
        self.up = False

    def started(self) -> int | None:
        return 7 if self.up else None

    def listens(self) -> bool:
        return self.up

    def missing_grants(self) -> tuple[str, ...]:
        return ("RELOAD",)


def test_what_was_seen_last_is_remembered_also_by_the_next_configuration() -> None:
    server, sighting = Server(), Sighting()
    before, after = SightedVitals(server, sighting), SightedVitals(server, sighting)
    assert sighting.running is None
    assert before.started() is None
    assert sighting.running is False
    server.up = True
    assert sighting.running is False, "it is not looked at by itself"
    assert after.listens()
    assert sighting.running is True
    server.up = False
    assert not before.listens()
    assert sighting.running is False
    server.up = True
    assert after.started() == 7
    assert sighting.running is True
    assert after.missing_grants() == ("RELOAD",)
