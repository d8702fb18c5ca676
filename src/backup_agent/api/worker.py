"""One process that answers requests: uvicorn, on a socket that all workers share."""

from __future__ import annotations

import socket
from datetime import timedelta

import uvicorn

from backup_agent.api import foreign_logs
from backup_agent.api.application import application
from backup_agent.api.catalogue.creating import Rules
from backup_agent.api.catalogue.quota import Quota
from backup_agent.api.parts import authenticator, open_database, rates
from backup_agent.api.rates import RateLimiter
from backup_agent.api.services import Services
from backup_agent.api.settings import ApiConfig
from backup_agent.api.watching import RequestMetrics

_KIB = 1024
_KEEP_ALIVE_S = 30


def work(config: ApiConfig, listener: socket.socket, limiter: RateLimiter) -> None:
    """Until SIGTERM: then requests under way are still answered."""
    foreign_logs.route()
    services = Services(
        database=open_database(config),
        authenticator=authenticator(config),
        limiter=limiter,
        rules=Rules(Quota(config.limits.backups_per_account), timedelta(seconds=config.agents.start_within_s)),
        rates=rates(config),
        broker_away=timedelta(seconds=config.agents.broker_away_s),
        max_body=config.http.max_body_kib * _KIB,
        public_url=config.http.public_url,
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
