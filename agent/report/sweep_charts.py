"""Charts of sweeps, as SVG files by matplotlib."""

import importlib.util
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moot.agent.sweep_table import Estimate, Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {
    "detect_s": "first detection, s",
    "known_s": "known to all, s",
    "converge_s": "event at all, s",
    "false_per_member_hour": "false failures per member and hour",
    "bytes_per_member_s": "bytes per member and second",
}
LINES_MAX = 12


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(points: Sequence[Point], axes: Sequence[str], folder: Path) -> list[Path]:
    """A chart per measure: the axis with the most values runs to the right, the others are lines of their own."""
    from matplotlib.figure import Figure

    spread = {name: len({point.at[name] for point in points}) for name in axes}
    across = max(axes, key=lambda name: (spread[name], name != "nodes"))
    others = [name for name in axes if name != across and spread[name] > 1]
    paths = []
    for measure, title in MEASURES.items():
        lines: dict[tuple[float, ...], list[tuple[float, Estimate]]] = defaultdict(list)
        for point in points:
            estimate = getattr(point, measure)
            if estimate is not None:
                lines[tuple(point.at[name] for name in others)].append((point.at[across], estimate))
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        chart = figure.subplots()
        for key, line in list(lines.items())[:LINES_MAX]:
            label = ", ".join(f"{name} {value:g}" for name, value in zip(others, key, strict=True))
            values = [each.value for _, each in line]
            error = [
                [max(0.0, each.value - each.low) for _, each in line],
                [max(0.0, each.high - each.value) for _, each in line],
            ]
            chart.errorbar([x for x, _ in line], values, error, marker="o", ms=3, capsize=2, label=label)
        chart.set(xlabel=across, ylabel=title, ylim=(0, None))
        if others and lines:
            chart.legend(fontsize="x-small")
        paths.append(save(figure, folder / f"{measure}.svg"))
    return paths


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure, the same bytes every time."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "moot", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path
