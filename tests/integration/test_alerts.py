"""The example alerts, evaluated by Prometheus's own tool: each says what it should, and only when it should."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
RULES = REPOSITORY / "config" / "alerts.yml"
CASES = sorted(Path(__file__).with_name("alerts").glob("*.yml"))


def promtool(*words: str | Path) -> None:
    done = subprocess.run(
        ["promtool", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_valid() -> None:
    promtool("check", "rules", RULES)


def test_each_rule_speaks_when_it_should_and_then_alone() -> None:
    promtool("test", "rules", *CASES)


def test_each_rule_has_a_case_in_which_it_speaks() -> None:
    rules = set(re.findall(r"- alert: (\w+)", RULES.read_text("utf-8")))
    cases = "".join(path.read_text("utf-8") for path in CASES)
    speaking = set(re.findall(r"alertname: (\w+)\s+exp_alerts:\n", cases))
    assert rules
    assert speaking == rules
