"""An account of Swift, and a line to it on which faults can be played."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Self

from backup_agent.cancellation import Cancellation
from backup_agent.storage.interface import Store
from backup_agent.storage.retry import Retry, RetryingStore
from backup_agent.storage.swift import SwiftStore
from backup_agent.storage.swift_client import SwiftOptions
from tests.contract.line import PATIENT_S, TIMEOUT_S, ImpatientOfSilence
from tests.servers.faultproxy import Exchange, FaultProxy, Step, passed
from tests.servers.swift import PrivateSwift

LOGIN = "GET /auth/v1.0"


class SwiftLine:
    """An account, seen directly and through the proxy, which the login leads through too."""

    def __init__(self, server: PrivateSwift, proxy: FaultProxy, account: str) -> None:
        self._stack = ExitStack()
        self.server = server
        self.proxy = proxy
        self.account = account
        self.direct = self.store(server.options())
        self.impatient, self.patient = self.store(self.options(timeout_s=TIMEOUT_S)), self.store(self.options())
        self.faulty = ImpatientOfSilence(proxy, self.impatient, self.patient)
        self.retries: list[Retry] = []

    def options(self, **changes: Any) -> SwiftOptions:
        return self.server.options(**{"url": self.proxy.url, "timeout_s": PATIENT_S, **changes})

    def store(self, options: SwiftOptions, account: str | None = None, *, create: bool = True) -> SwiftStore:
        """Closed with the line."""
        store = SwiftStore(account or self.account, create=create, options=options)
        self._stack.callback(store.close)
        return store

    def retrying(self, store: Store | None = None) -> RetryingStore:
        return RetryingStore(
            store or self.faulty,
            give_up_after=2 * PATIENT_S,
            cancellation=Cancellation(),
            on_retry=self.retries.append,
        )

    def ask(self, method: str, path: str, **headers: str) -> int:
        """The status of something that the store never asks for."""
        return self.server.ask(method, f"{self.account}/{path}", **headers)

    def logins(self) -> int:
        return self.proxy.requests.count(LOGIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def refused(status: int, **headers: str) -> Step:
    """An answer as Swift gives it, which it has not given. Underscores in `headers` are hyphens."""

    def step(exchange: Exchange) -> None:
        for _ in exchange.request_body():
            pass
        answer = {name.replace("_", "-"): value for name, value in headers.items()}
        exchange.reply(status, {"X-Trans-Id": "tx-scripted", **answer}, b"<html><h1>As scripted</h1></html>")

    return step


def noting(heads: list[dict[str, str]]) -> Step:
    """Passes a request on, also one that is meant for a proxy, and notes its headers."""

    def step(exchange: Exchange) -> None:
        heads.append({name.lower(): value for name, value in exchange.headers.items()})
        exchange.path = "/" + exchange.path.split("/", 3)[3] if "://" in exchange.path else exchange.path
        passed()(exchange)

    return step
