"""The program: `backup-agent`, and `python -m backup_agent`."""

import gc
import signal


def main() -> None:
    """A Ctrl-C that comes while the rest is imported, which takes a second on a busy host, ends the process without a
    traceback.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # what is imported stays: to look for garbage in it would take a tenth of the start
    from backup_agent.cli import main as commands  # noqa: PLC0415 - see above

    gc.freeze()
    gc.enable()
    commands()


if __name__ == "__main__":
    main()
