"""Whether the broker can be used as configured, asked once: for `config check`."""

from __future__ import annotations

from backup_agent.broker import failures
from backup_agent.broker.connection import silence_pika
from backup_agent.broker.endpoint import Endpoint, endpoints
from backup_agent.broker.session import Session
from backup_agent.broker.settings import BrokerSettings
from backup_agent.broker.topology import Topology
from backup_agent.errors import BrokerError


def probe(settings: BrokerSettings, topology: Topology) -> Endpoint:
    """Connects, and declares the topology or looks for it, as `settings.declare` has it; the first broker that will do.

    Raises BrokerError (`broker_unreachable`, `broker_denied`, `broker_topology`) with what each said, and ConfigError
    (`config_invalid`) for URLs that can't be used. Takes at most the connect timeout per address, and a second.
    """
    silence_pika()
    errors: list[BrokerError] = []
    for endpoint in endpoints(settings):
        session = Session(
            endpoint,
            settings,
            topology,
            _Nothing(),
            name="backup-agent check",
            beat=lambda: None,
            on_settled=lambda: None,
            on_blocked=lambda _: None,
        )
        error = session.run()
        if error is None:
            return endpoint
        errors.append(error)
    raise failures.of_all(errors)


class _Nothing:
    """Leaves as soon as all stands."""

    def begin(self, session: Session) -> None:
        session.settled()
        session.leave()

    def end(self) -> None:
        """There is nothing to end."""
