"""One connection to one endpoint: how it is secured, and how it is given up.

Asynchronous: a blocking one could be neither stopped nor watched while it waits for a broker that does not answer, or
for the confirm of one that is blocked.
"""

from __future__ import annotations

import logging
import ssl

import pika
from pika.adapters.utils.connection_workflow import AbstractAMQPConnectionWorkflow

from backup_agent.broker.endpoint import Endpoint, endpoints
from backup_agent.broker.settings import BrokerSettings
from backup_agent.errors import BrokerError, ConfigError, ErrorCode
from backup_agent.version import __version__

_SILENT = logging.CRITICAL + 1


class Connection(pika.SelectConnection):
    """Pika's, which can also be left without the broker's consent."""

    def abandon(self) -> None:
        """Closes the socket of an open connection; the callback for closed ones comes as usual, soon."""
        if not self.is_closed:
            self._terminate_stream(ConnectionAbortedError("given up by the agent"))


def parameters(endpoint: Endpoint, settings: BrokerSettings, name: str) -> pika.ConnectionParameters:
    """Certificates are read anew each time: they may have been renewed. `name` is shown by the broker's tools. Raises
    BrokerError (`broker_denied`) when they can't be used.
    """
    return pika.ConnectionParameters(
        host=endpoint.host,
        port=endpoint.port,
        virtual_host=endpoint.vhost,
        credentials=_credentials(endpoint),
        ssl_options=pika.SSLOptions(_tls(settings), endpoint.host) if endpoint.tls else None,
        heartbeat=settings.heartbeat,
        socket_timeout=settings.connect_timeout,
        stack_timeout=settings.connect_timeout,
        blocked_connection_timeout=settings.blocked_timeout,
        client_properties={"product": "backup-agent", "version": __version__, "connection_name": name},
    )


def half_open_connection(opening: AbstractAMQPConnectionWorkflow) -> Connection | None:
    """The one whose handshake is under way. Aborting the whole, as pika offers it, fails then (1.4 asserts)."""
    connector = getattr(opening, "_connector", None)
    found = getattr(getattr(connector, "_amqp_conn", None), "conn", None)
    return found if isinstance(found, Connection) else None


def check_settings(settings: BrokerSettings) -> None:
    """Whether they can be used at all; connects to nothing. Raises ConfigError (`config_invalid`)."""
    try:
        for endpoint in endpoints(settings):
            parameters(endpoint, settings, "")
    except BrokerError as error:
        raise ConfigError(ErrorCode.CONFIG_INVALID, error.message, error.hint) from error


def silence_pika() -> None:
    """It logs every step and failure, and the bodies of messages; what matters of that, we log."""
    logging.getLogger("pika").setLevel(_SILENT)


def _credentials(endpoint: Endpoint) -> pika.PlainCredentials | pika.credentials.ExternalCredentials:
    if endpoint.user is None:
        return pika.credentials.ExternalCredentials()
    return pika.PlainCredentials(endpoint.user, endpoint.password)


def _tls(settings: BrokerSettings) -> ssl.SSLContext:
    """The system's CAs, and the configured ones; host names are checked."""
    context = ssl.create_default_context()
    try:
        if settings.ca_file is not None:
            context.load_verify_locations(settings.ca_file)
        if settings.cert_file is not None:
            # A key with a passphrase would be asked for on a terminal: an empty one is refused instead.
            context.load_cert_chain(settings.cert_file, settings.key_file, password="")
    except OSError as error:  # SSLError is one
        why = error.strerror or type(error).__name__
        raise BrokerError(
            ErrorCode.BROKER_DENIED,
            f"the certificates for the broker can't be used: {why}",
            "Check broker.ca_file, broker.cert_file and broker.key_file: PEM, readable, the key without a passphrase.",
        ) from error
    return context
