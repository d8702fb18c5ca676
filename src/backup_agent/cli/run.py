"""`backup-agent run`: the daemon."""

from __future__ import annotations

import signal
from contextlib import ExitStack, closing

from backup_agent.app.telling import metrics
from backup_agent.app.wiring import open_journal
from backup_agent.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from backup_agent.cli.session import configured
from backup_agent.cli.signals import acted_upon


def run(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Take backups that are asked for by messages, until stopped.

    Commands come from RabbitMQ and are remembered on disk before they are acknowledged; events go there. SIGTERM ends
    the agent (service.on_stop says what becomes of a running backup), SIGHUP reads the configuration again.

    \b
    Examples:
      backup-agent run
      backup-agent run --config /etc/backup-agent/other.toml
    """
    # Not for the other commands: the broker's library alone takes a tenth of a second.
    from backup_agent.app.serving import Serving  # noqa: PLC0415

    with configured(config, json=json) as state, closing(open_journal(state.config)) as journal:
        serving = Serving(state.config, config, journal)
        daemon = serving.daemon

        def act(number: int) -> None:
            if number == signal.SIGHUP:
                daemon.reload()
            else:
                daemon.stop()

        with ExitStack() as stack:
            stack.enter_context(acted_upon((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), act))
            if state.config.metrics.port is not None:
                served = metrics(state.config, journal, serving.live).serve(state.config.metrics.port)
                stack.callback(served.close)
            daemon.run()
