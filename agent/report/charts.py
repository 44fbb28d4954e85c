"""Charts as SVG by matplotlib: drawn in stand-in colours that the page's style replaces, light and dark.

No name of a member is ever in a chart: matplotlib would read formulas and miss glyphs in them.
"""

import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any, Final
from xml.etree import ElementTree as Xml

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moot.agent.report.measures import Measures, Spread
from moot.agent.report.views import Matrix
from moot.gossip.sim.history import Sample
from moot.gossip.sim.timeline import Timeline

POINTS_MAX: Final = 240
CURVES_MAX: Final = 8
SAMPLES_APART: Final = 0.5
"""Seconds between two samples from which a rate is taken."""
INK, FAINT, ONE, TWO, BAND = "#000001", "#000002", "#000003", "#000004", "#000005"
COLOURS: Final = {INK: "ink", FAINT: "faint", ONE: "one", TWO: "two", BAND: "band"}
"""Stand-ins, and the variables of the page's style that replace them."""
STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.4,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": False,
}
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"url\(#([^)]*)\)")
_COLOUR = re.compile("|".join(COLOURS))


class Chart:
    """A chart: its heading, a sentence about it, and its SVG."""

    def __init__(self, heading: str, text: str, svg: str) -> None:
        self.heading = heading
        self.text = text
        self.svg = svg


def charts(run: Timeline, matrix: Matrix, measures: Measures) -> list[Chart]:
    """All charts of one run for which there is anything to draw."""
    with mpl.rc_context(STYLE):
        found = [*_latencies([measures]), _kinds(run, matrix), *_samples(run)]
    return [chart for chart in found if chart is not None]


def overview(measured: Sequence[Measures], prefix: str) -> list[Chart]:
    """Charts over several runs of one scenario; the prefix tells their elements from those of another one."""
    with mpl.rc_context(STYLE):
        return _latencies(measured, prefix)


def _latencies(measured: Sequence[Measures], prefix: str = "") -> list[Chart]:
    detection = (
        "Crash detected",
        "Part of the views in which a crashed member is gone, by seconds since the crash.",
        [each.detection for each in measured],
    )
    dissemination = (
        "News spread",
        "Part of the views that know of a failure or a leave, by seconds since the first one.",
        [each.dissemination for each in measured],
    )
    convergence = (
        "Views agreed",
        "Part of the troubles after which all views agreed, by seconds since the trouble was over.",
        [each.convergence for each in measured],
    )
    found = []
    for heading, text, spreads in (detection, dissemination, convergence):
        many = len(spreads) > 1 or heading != "Views agreed"
        if many and any(spread.count > 1 for spread in spreads):
            found.append(_distribution(heading, text, spreads, measured, prefix))
    return found


def _distribution(
    heading: str, text: str, spreads: Sequence[Spread], measured: Sequence[Measures], prefix: str
) -> Chart:
    thin = spreads
    if len(spreads) == 1:
        crashes = measured[0].crashes
        thin = [crash.spread for crash in crashes] if heading == "Crash detected" and len(crashes) > 1 else []
    every = sorted(value for spread in spreads for value in spread.values)
    total = len(every) + sum(spread.missed for spread in spreads)

    def draw(axes: Axes) -> None:
        for spread in thin[:CURVES_MAX]:
            if spread.count > 1:
                _steps(axes, spread.values, spread.count + spread.missed, color=TWO, linewidth=0.7, linestyle="--")
        _steps(axes, every, total, color=ONE, linewidth=1.8)
        axes.set_ylim(0, 103)
        axes.set_xlim(left=0)
        axes.set_xlabel("seconds")
        axes.set_ylabel("%")

    one = "run" if len(spreads) > 1 else "crash"
    more = f" Dashed: each {one}{f', the first {CURVES_MAX}' if len(thin) > CURVES_MAX else ''}." if thin else ""
    return Chart(heading, text + more, _svg(prefix + heading, draw))


def _steps(axes: Axes, values: Sequence[float], total: int, **style: Any) -> None:
    """The part of `total` that is not above each value, thinned to what can be seen."""
    every = max(1, len(values) // POINTS_MAX)
    kept = [place for place in range(len(values)) if place % every == 0 or place == len(values) - 1]
    across = [values[0], *(values[place] for place in kept)]
    up = [0.0, *(100 * (place + 1) / total for place in kept)]
    axes.plot(across, up, drawstyle="steps-post", **style)


def _kinds(run: Timeline, matrix: Matrix) -> Chart | None:
    if not matrix.stops:
        return None

    def draw(axes: Axes) -> None:
        _shade(axes, run)
        axes.plot([*matrix.stops, run.end], [*matrix.kinds, matrix.kinds[-1]], drawstyle="steps-post", color=ONE)
        axes.set_ylim(0, max(2.1, axes.get_ylim()[1]))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        _time_axis(axes, run)

    text = "How many different views there are among agents that run; 1 is agreement. Hatched: a fault is active."
    return Chart("Different views", text, _svg("kinds", draw))


def _samples(run: Timeline) -> list[Chart]:
    """What agents told of themselves, by time: the median over all, and the highest."""
    held: dict[str, list[Sample]] = defaultdict(list)
    for sample in run.history.of(Sample):
        held[sample.agent].append(sample)
    width = max(1.0, run.end / POINTS_MAX)
    found = []
    rates: tuple[tuple[str, str, Callable[[Sample], int]], ...] = (
        ("Bytes sent", "bytes per second and agent", lambda sample: sample.bytes),
        ("Messages sent", "messages per second and agent", lambda sample: sample.messages),
    )
    for heading, unit, of in rates:
        values = [rate for series in held.values() for rate in _rates(series, of)]
        found.append(_by_time(run, heading, unit, values, width))
    healths = [(each.at, float(each.health)) for series in held.values() for each in series if each.health >= 0]
    found.append(_by_time(run, "Health scores", "score, 0 is healthy", healths, width))
    answers = [(each.at, 1000 * each.http) for series in held.values() for each in series if each.http >= 0]
    found.append(_by_time(run, "HTTP answers", "milliseconds", answers, width))
    return [chart for chart in found if chart is not None]


def _rates(series: Sequence[Sample], of: Callable[[Sample], int]) -> Iterator[tuple[float, float]]:
    """What a count grew by per second, between samples of it that are far enough apart."""
    before = None
    for after in (sample for sample in series if of(sample) >= 0):
        if before is None or of(after) < of(before):
            before = after  # the first one, or it started anew
        elif after.at - before.at >= SAMPLES_APART:
            yield after.at, (of(after) - of(before)) / (after.at - before.at)
            before = after


def _by_time(
    run: Timeline, heading: str, unit: str, values: Sequence[tuple[float, float]], width: float
) -> Chart | None:
    bins: dict[int, list[float]] = defaultdict(list)
    for at, value in values:
        bins[int(at / width)].append(value)
    if not bins:
        return None
    times = sorted(bins)

    def draw(axes: Axes) -> None:
        _shade(axes, run)
        across = [width * (each + 0.5) for each in times]
        axes.plot(
            across, [max(bins[each]) for each in times], color=TWO, linestyle="--", label="highest", linewidth=1
        )
        axes.plot(across, [median(bins[each]) for each in times], color=ONE, label="median")
        axes.set_ylim(0, max(1.05, axes.get_ylim()[1]))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.legend(loc="upper right")
        _time_axis(axes, run)

    return Chart(heading, f"{unit[0].upper()}{unit[1:]}; median and highest of all agents.", _svg(heading, draw))


def _time_axis(axes: Axes, run: Timeline) -> None:
    axes.set_xlim(0, run.end or 1.0)
    axes.set_xlabel("seconds since the run began")


def _shade(axes: Axes, run: Timeline) -> None:
    """When anything was wrong on purpose; overlapping times are one."""
    until = -1.0
    for span in sorted([*(span for span, _ in run.troubles), *run.stops()], key=lambda span: span.began):
        began, ended = max(span.began, until), min(span.ended, run.end)
        if ended > began:
            axes.axvspan(began, ended, facecolor="none", edgecolor=BAND, hatch="////", linewidth=0)
        until = max(until, ended)


def _svg(name: str, draw: Callable[[Axes], None]) -> str:
    """A drawing as an element for a page: no metadata, no reference to anything else, ids of its own."""
    figure = Figure(figsize=(5.0, 2.5), layout="constrained")
    draw(figure.add_subplot())
    held = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(held, format="svg", transparent=True, metadata={"Date": None})
    return _plain(Xml.fromstring(held.getvalue()), re.sub(r"\W+", "-", name.lower()))


def _plain(root: Xml.Element, prefix: str) -> str:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith("}metadata") or child.tag == f"{_SVG}style":
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        for key, value in list(element.attrib.items()):
            if key == "id":
                element.set(key, f"{prefix}-{value}")
            elif key == _HREF:
                del element.attrib[key]
                element.set("href", f"#{prefix}-{value.removeprefix('#')}")
            else:
                element.set(key, _own(value, prefix))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", prefix)
    return Xml.tostring(root, encoding="unicode", short_empty_elements=False)


def _own(value: str, prefix: str) -> str:
    value = _REFERENCE.sub(lambda found: f"url(#{prefix}-{found[1]})", value)
    return _COLOUR.sub(lambda found: f"var(--{COLOURS[found[0]]})", value)
