"""What went wrong at the broker, in our words: the only place that knows pika's exceptions."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence

from pika import exceptions
from pika.adapters.utils import connection_workflow as workflow

from backup_agent.broker.endpoint import Endpoint
from backup_agent.errors import BrokerError, ErrorCode

_UNREACHABLE_HINT = "Check broker.urls, that the broker runs, and the network between; it is tried again."
_DENIED_HINT = "Check broker.user, its password or certificate, the virtual host, and the user's permissions there."
_TLS_HINT = (
    "Check broker.ca_file, broker.cert_file and broker.key_file, and the host's name in the broker's certificate."
)
_TOPOLOGY_HINT = (
    "Let the agent declare it (broker.declare), or make it as docs/messages.md says; "
    "what exists with other arguments must be deleted, or broker.dead_letter_limit set as it was."
)
_REPLY = re.compile(r"ConnectionClosedByBroker: \(\d+\) ['\"](.*)['\"]", re.DOTALL)
_REASONS: dict[type[BaseException], str] = {
    exceptions.ConnectionBlockedTimeout: "the broker takes no messages (its disk or memory is full)",
    exceptions.AMQPHeartbeatTimeout: "the broker fell silent",
    workflow.AMQPConnectorStackTimeout: "no answer in time",
    TimeoutError: "no answer in time",
    exceptions.ProbableAuthenticationError: "the connection was cut while logging in",
    exceptions.ProbableAccessDeniedError: "the connection was cut while logging in",
    exceptions.IncompatibleProtocolError: "the connection was cut before the broker said a word",
    exceptions.StreamLostError: "the connection was cut",
}


def unreachable(endpoint: Endpoint, why: str, hint: str = _UNREACHABLE_HINT) -> BrokerError:
    return BrokerError(ErrorCode.BROKER_UNREACHABLE, f"{endpoint}: {why}", hint)


def of_connection(endpoint: Endpoint, error: BaseException) -> BrokerError:
    """Why a connection was not opened, or ended."""
    made = _of_connection(endpoint, _innermost(error))
    made.__cause__ = error
    return made


def of_channel(endpoint: Endpoint, what: str, error: BaseException) -> BrokerError:
    """Why the broker closed a channel; `what` was asked of it last."""
    code, text = (
        (error.reply_code, error.reply_text) if isinstance(error, exceptions.ChannelClosed) else (0, str(error))
    )
    match code:
        case 403:
            made = BrokerError(ErrorCode.BROKER_DENIED, f"{endpoint}: {what}: {text}", _DENIED_HINT)
        case 404 | 405 | 406 if what:
            made = BrokerError(ErrorCode.BROKER_TOPOLOGY, f"{endpoint}: {what}: {text}", _TOPOLOGY_HINT)
        case _:
            made = unreachable(endpoint, f"the channel was closed: {text}")
    made.__cause__ = error
    return made


def unconfirmed(endpoint: Endpoint) -> BrokerError:
    return BrokerError(
        ErrorCode.BROKER_FAILED,
        f"{endpoint}: the broker neither confirmed nor refused a message in time",
        "Check the queues at the broker: a quorum queue without a leader takes nothing.",
    )


def queue_gone(endpoint: Endpoint, queue: str) -> BrokerError:
    return BrokerError(
        ErrorCode.BROKER_TOPOLOGY, f"{endpoint}: the queue {queue} was deleted, or its node is gone", _TOPOLOGY_HINT
    )


def of_all(errors: Sequence[BrokerError]) -> BrokerError:
    """One for all endpoints: a refusal, where there was one, tells more than that another did not answer."""
    if len(errors) == 1:
        return errors[0]
    worst = next((error for error in errors if error.code is not ErrorCode.BROKER_UNREACHABLE), errors[0])
    return BrokerError(worst.code, "; ".join(error.message for error in errors), worst.hint)


def _innermost(error: BaseException) -> BaseException:
    """Pika wraps what happened at the socket, or in TLS, several times."""
    while True:
        match error:
            case workflow.AMQPConnectionWorkflowFailed():
                error = error.exceptions[-1]
            case workflow.AMQPConnectorPhaseErrorBase():
                error = error.exception
            case exceptions.AMQPConnectionError(args=(BaseException() as inner,)):
                error = inner
            case _:
                return error


def _of_connection(endpoint: Endpoint, error: BaseException) -> BrokerError:
    refusal = _refusal(error)
    if refusal is not None:
        return BrokerError(ErrorCode.BROKER_DENIED, f"{endpoint}: {refusal}", _DENIED_HINT)
    if isinstance(error, ssl.SSLCertVerificationError):
        return unreachable(endpoint, f"its certificate is not accepted: {error.verify_message}", _TLS_HINT)
    if isinstance(error, ssl.SSLError):
        return unreachable(endpoint, f"TLS failed: {error.reason}", _TLS_HINT)
    if isinstance(error, exceptions.ConnectionClosed):
        return unreachable(endpoint, f"the broker closed the connection: {error.reply_text}")
    for kind, why in _REASONS.items():
        if isinstance(error, kind):
            return unreachable(endpoint, why)
    words = error.strerror if isinstance(error, OSError) else None
    return unreachable(endpoint, words or type(error).__name__)


def _refusal(error: BaseException) -> str | None:
    match error:
        case exceptions.AuthenticationError():
            return "the broker offers no way to log in that is configured here"
        case exceptions.ConnectionClosed(reply_code=403 | 530, reply_text=text):
            return str(text)
        case exceptions.ProbableAuthenticationError() | exceptions.ProbableAccessDeniedError():
            # Pika takes a connection that was merely cut at this moment for a refusal, too.
            reply = _REPLY.search(str(error))
            return None if reply is None else reply[1]
        case _:
            return None
