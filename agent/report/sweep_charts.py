"""Charts of sweeps, as SVG files by matplotlib."""

import importlib.util
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moot.agent.sweep_table import Estimate, Point
from moot.agent.tune import Candidate
from moot.gossip.errors import ConfigError
from moot.gossip.sim.convergence import Curve

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


def require() -> None:
    """Raises ConfigError that says what to install; ask before a long run."""
    if not available():
        raise ConfigError("a chart needs matplotlib: pip install 'moot[sim]'")


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


def draw_tradeoff(
    tried: Sequence[Candidate], best: Sequence[Candidate], chosen: Candidate | None, path: Path
) -> Path:
    """Detection against false failures: all that was tried, the curve of the best, and the proposal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    chart = figure.subplots()
    seen = [each for each in tried if each.detect_s < float("inf")]
    chart.plot([each.detect_s for each in seen], [each.false.value for each in seen], ".", color="0.7", label="tried")
    curve = [each for each in best if each in seen]
    error = [
        [each.false.value - each.false.low for each in curve],
        [each.false.high - each.false.value for each in curve],
    ]
    chart.errorbar(
        [each.detect_s for each in curve],
        [each.false.value for each in curve],
        error,
        marker="o",
        capsize=2,
        label="best",
    )
    for each in curve:
        words = f"{each.engine['probe_interval']:g} s * {each.engine['suspicion_mult']:g}, {each.bytes:.0f} B/s"
        chart.annotate(
            words, (each.detect_s, each.false.value), xytext=(4, 5), textcoords="offset points", fontsize=6
        )
    if chosen is not None:
        chart.plot(chosen.detect_s, chosen.false.value, "*", ms=14, label="proposed")
    chart.set(
        xlabel="detection, 95 % within s", ylabel=MEASURES["false_per_member_hour"], xlim=(0, None), ylim=(0, None)
    )
    chart.legend(fontsize="x-small")
    return save(figure, path)


def draw_curves(curves: Mapping[str, Curve], title: str, seconds: float, path: Path) -> Path:
    """Shares over time, several in one chart."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    chart = figure.subplots()
    for label, curve in curves.items():
        times = [number * curve.step for number in range(len(curve.shares))]
        chart.plot(times, curve.shares, label=label)
    chart.set(
        xlabel="s", ylabel="share of members that have the news", title=title, xlim=(0, seconds), ylim=(0, 1.02)
    )
    chart.grid(alpha=0.3)
    chart.legend(fontsize="x-small", loc="lower right")
    return save(figure, path)


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure, the same bytes every time."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "moot", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path
