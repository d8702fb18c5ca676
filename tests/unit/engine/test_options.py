"""The option file, read by the server's own reader: whatever the password holds, it arrives as it is."""

from __future__ import annotations

import os
import random
import stat
import subprocess
from pathlib import Path

import pytest

from backup_agent.engine.options import Login, OptionFile, client_options

AWKWARD = [
    "plain",
    "two words",
    " spaces around ",
    'quo"te',
    "apo'strophe",
    '"wholly quoted"',
    "'wholly quoted'",
    "back\\slash",
    "back\\\\slashes",
    "ends in a backslash\\",
    "\\n is no line break, \\s no space, \\t no tab",
    "new\nline",
    "carriage\rreturn",
    "tab\tulator",
    "# no comment",
    "not; a # comment",
    "a=b",
    "[client]",
    "!include /etc/passwd",
    "$HOME `id` $(id) %s",
    "p\u00e4ssw\u00f6rd \u2603",
    "\x01\x1f",
    "-",
]
CHANCE = random.Random(3)
MADE_UP = ["".join(CHANCE.choices("ab \\\"'#;=\n\r\tns[]!", k=CHANCE.randrange(1, 20))) for _ in range(50)]


def read(text: str) -> bytes:
    """What the server's programs take from the option file, through the descriptor that a child inherits."""
    with OptionFile(text) as options:
        done = subprocess.run(
            ["my_print_defaults", f"--defaults-file={options.path}", "client"],
            pass_fds=[options.descriptor],
            capture_output=True,
            check=True,
        )
    return done.stdout


def login(password: str | None, **changes: object) -> Login:
    values: dict[str, object] = {"user": "agent", "socket": Path("/s"), "host": "h", "port": 3307, "password": password}
    return Login(**{**values, **changes})  # type: ignore[arg-type]  # the fields by name


@pytest.mark.parametrize("password", AWKWARD)
def test_any_password_arrives_as_it_is(password: str) -> None:
    assert read(client_options(login(password), None)).decode() == f"--user=agent\n--password={password}\n--socket=/s\n"


def test_made_up_passwords_arrive_as_they_are() -> None:
    arrived = [read(client_options(login(password), None)).decode() for password in MADE_UP]
    assert arrived == [f"--user=agent\n--password={password}\n--socket=/s\n" for password in MADE_UP]


def test_without_a_socket_the_server_is_reached_by_tcp() -> None:
    text = client_options(login(None, socket=None), None)
    assert read(text) == b"--user=agent\n--host=h\n--port=3307\n--protocol=tcp\n"


def test_another_option_file_is_included_and_yields(tmp_path: Path) -> None:
    include = tmp_path / "server.cnf"
    include.write_text("[client]\nuser=root\n[mysqld]\nplugin-load-add=file_key_management\n")
    assert read(client_options(login("p"), include)).endswith(b"--user=agent\n--password=p\n--socket=/s\n")


def test_the_file_is_in_memory_private_and_gone() -> None:
    with OptionFile("[client]\n") as options:
        status = os.fstat(options.descriptor)
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert status.st_nlink == 0
        assert not os.get_inheritable(options.descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(options.descriptor)


def test_a_login_does_not_show_its_password() -> None:
    assert "secret" not in repr(login("secret"))
