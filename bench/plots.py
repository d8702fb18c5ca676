"""Draws the pictures of a report from its results.json: `plots.py DIR`, run by the interpreter that has matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]  # in an environment of its own

mpl.use("Agg")
from matplotlib import pyplot as plt

_OURS = ("backup-agent", "backup-agent-age")
_IDLE = "idle"
_COLOUR = "#9aa5b1"
_OUR_COLOUR = "#1f77b4"
_TITLES = {
    "full": "full backup",
    "slow": "full backup, slow store",
    "outage": "full backup, store away for a minute",
    "incremental": "incremental, 1% of pages",
    "restore": "restore to a serving database",
}
_STALLS = {"innodb_ms": "longest InnoDB stall, ms", "myisam_ms": "longest MyISAM stall, ms"}


def bars(axes: Any, rows: list[dict[str, Any]], figure: str, title: str, form: str) -> None:  # noqa: ANN401 - matplotlib has no types here
    """One bar a contender, the first at the top."""
    shown = [row for row in rows if row[figure] is not None][::-1]
    values = [row[figure] for row in shown]
    colours = [_OUR_COLOUR if row["contender"] in _OURS else _COLOUR for row in shown]
    drawn = axes.barh([row["contender"] for row in shown], values, color=colours)
    axes.bar_label(drawn, fmt=form, padding=3, fontsize=8)
    axes.margins(x=0.15)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def main(directory: Path) -> int:
    results = json.loads((directory / "results.json").read_text())
    for phase, heading in _TITLES.items():
        rows = [row for row in results["medians"] if row["phase"] == phase]
        if not rows:
            continue
        timed = [row for row in rows if row["contender"] != _IDLE]
        panels = [(timed, "seconds", "seconds", "%.2f"), (timed, "cpu_s", "CPU seconds", "%.1f")]
        if phase != "restore":
            panels += [(rows, name, title, "%.0f") for name, title in _STALLS.items()]
        lines = len(panels) // 2
        figure, axes = plt.subplots(lines, 2, figsize=(10, lines * (0.32 * len(rows) + 0.9) + 0.4), squeeze=False)
        for place, panel in zip(axes.flat, panels, strict=True):
            bars(place, *panel)
        figure.suptitle(f"{heading}, {results['size_mb']} MB, {results['machine']['cores']} cores", fontsize=11)
        figure.tight_layout()
        figure.savefig(directory / f"{phase}.png", dpi=110)
        plt.close(figure)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
