"""What is printed for people and for programs."""

from __future__ import annotations

import json

import pytest

from backup_agent.cli.output import print_fields, print_json, print_table, size_text


def test_json_keeps_every_script(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"backup": {"name": "s\u00e4kerhetskopia", "size": None}}
    print_json(value)
    printed = capsys.readouterr().out
    assert json.loads(printed) == value
    assert "s\u00e4kerhetskopia" in printed
    assert printed.endswith("}\n")


def test_fields_are_one_line_each_with_their_path(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields(
        {"id": "x", "binlog": {"file": "b.1", "gtid": ""}, "chain": ["a", "b"], "prepared": True, "parent": None}
    )
    assert capsys.readouterr().out.splitlines() == [
        "id           x",
        "binlog.file  b.1",
        "binlog.gtid  ",
        "chain        a b",
        "prepared     yes",
        "parent       -",
    ]


def test_a_value_of_several_lines_stays_on_one(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"source": "CHANGE MASTER TO\nMASTER_LOG_FILE='x'"})
    assert capsys.readouterr().out == "source  CHANGE MASTER TO; MASTER_LOG_FILE='x'\n"


def test_a_table_shows_names_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    names = ["[/x]", "[red]a[/red]", ":smile:", "n" * 64, "\u5099\u4efd"]
    print_table(("NAME", "SIZE"), [(name, "1.0 MiB") for name in names])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0].rstrip() for line in lines] == ["NAME", *names]
    assert all(line.endswith("1.0 MiB") for line in lines[1:])


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 << 19, "2.5 MiB"),
        (3 << 30, "3.0 GiB"),
        (2 << 40, "2.0 TiB"),
        (5000 << 40, "5000.0 TiB"),
    ],
)
def test_sizes_are_told_in_powers_of_1024(size: int, text: str) -> None:
    assert size_text(size) == text
