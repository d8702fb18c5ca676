"""Remembers whether the server was last seen to run. A wrapper of Vitals; what it does not do: look by itself."""

from __future__ import annotations

import threading

from backup_agent.instance.administration import Vitals


class Sighting:
    """What was last seen, whichever Vitals saw it. For any thread."""

    def __init__(self) -> None:
        self.running: bool | None = None
        """None: nobody has looked yet."""
        self.looking = threading.Lock()


class SightedVitals:
    """Safe from any thread."""

    def __init__(self, vitals: Vitals, sighting: Sighting) -> None:
        self._vitals = vitals
        self._sighting = sighting

    def started(self) -> int | None:
        moment = self._vitals.started()
        self._sighting.running = moment is not None
        return moment

    def listens(self) -> bool:
        # One at a time: what somebody saw just before a stop must not be remembered after it.
        with self._sighting.looking:
            self._sighting.running = self._vitals.listens()
            return self._sighting.running

    def missing_grants(self) -> tuple[str, ...]:
        return self._vitals.missing_grants()
