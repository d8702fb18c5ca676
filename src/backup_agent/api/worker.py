"""One process that answers requests: uvicorn, on a socket that all workers share."""

from __future__ import annotations

import socket
from datetime import timedelta
from functools import partial

import uvicorn

from backup_agent.api import foreign_logs
from backup_agent.api.application import application
from backup_agent.api.catalogue import operating
from backup_agent.api.catalogue.creating import Rules
from backup_agent.api.catalogue.quota import Quota
from backup_agent.api.parts import authenticator, open_database, rates
from backup_agent.api.rates import RateLimiter
from backup_agent.api.services import OperationRules, Services
from backup_agent.api.settings import ApiConfig
from backup_agent.api.waiting import Waiters
from backup_agent.api.watching import RequestMetrics

_KIB = 1024
_KEEP_ALIVE_S = 30


def work(config: ApiConfig, listener: socket.socket, limiter: RateLimiter) -> None:
    """Until SIGTERM: then requests under way are still answered."""
    foreign_logs.route()
    database = open_database(config)
    services = Services(
        database=database,
        authenticator=authenticator(config),
        limiter=limiter,
        rules=Rules(Quota(config.limits.backups_per_account), timedelta(seconds=config.agents.start_within_s)),
        rates=rates(config),
        broker_away=timedelta(seconds=config.agents.broker_away_s),
        max_body=config.http.max_body_kib * _KIB,
        public_url=config.http.public_url,
        operations=OperationRules(
            timedelta(seconds=config.operations.begin_within_s),
            config.operations.change_wait_s,
            config.operations.list_wait_s,
        ),
        waiters=Waiters(partial(operating.find_ended, database)),
    )
    server = uvicorn.Server(
        uvicorn.Config(
            application(services, RequestMetrics()),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=config.http.forwarded_allow_ips,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(config.http.stop_within_s),
        )
    )
    server.run(sockets=[listener])
