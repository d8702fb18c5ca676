"""One token for all threads: renewed before it expires, and when it is refused; once, however many threads ask.

Knows nothing of HTTP. Whether a refusal (401) is a matter of the token is found out by trying with a new one, once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from backup_agent.errors import StoreError, TransientStoreError
from backup_agent.storage.swift_login import Login

_EARLY = 0.2
_EARLY_S = 120.0
"""A token is renewed when a fifth of its life is left, or two minutes: only the beginning of a request needs one."""
_PAUSE_S = 5.0
"""Between two renewals ahead of time: tempauth gives the same token again as long as it lives."""


class Tokens:
    """Safe from any thread. `login` is called by one of them at a time; the others wait for what it brings."""

    def __init__(self, login: Callable[[], Login], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._login = login
        self._clock = clock
        self._lock = threading.Lock()
        self._logins = 0
        self._login_now: Login | None = None
        self._failed: StoreError | None = None
        self._renew_at = 0.0
        self._expires_at = 0.0

    def current(self) -> Login:
        """Raises what logging in raises; never because of a renewal that could as well be made later."""
        login, now = self._login_now, self._clock()
        if login is None or now >= self._expires_at:
            return self.renewed(login)
        if now >= self._renew_at and self._lock.acquire(blocking=False):
            try:
                self._renew_early()
            finally:
                self._lock.release()
        return self._login_now or login

    def renewed(self, refused: Login | None) -> Login:
        """Another one than `refused`, which was refused or has expired. Raises what logging in raises."""
        seen = self._logins
        with self._lock:
            if self._login_now is not None and self._login_now is not refused:
                return self._login_now
            if self._logins != seen and self._failed is not None:  # it failed while this thread waited for it
                raise self._failed.again()
            return self._renew()

    def _renew_early(self) -> None:
        self._renew_at = self._clock() + _PAUSE_S
        try:
            self._renew()
        except TransientStoreError:
            return  # the token at hand is still good; when it is not any more, the failure will be the request's

    def _renew(self) -> Login:
        began = self._clock()
        try:
            login = self._login()
        except StoreError as error:
            self._failed = error
            raise
        finally:
            self._logins += 1
        self._failed = None
        self._expires_at = began + login.lifetime
        self._renew_at = max(
            self._expires_at - min(_EARLY_S, login.lifetime * _EARLY), began + min(_PAUSE_S, login.lifetime)
        )
        self._login_now = login
        return login
