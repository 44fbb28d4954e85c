"""Space-time diagrams: members side by side, time downwards, every message an arrow. For terminals, and as SVG.

Time is not to scale, for messages cross in a millisecond and then nothing happens for a second: each instant at
which anything happens has a line of its own.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from moot.gossip.sim.trace import Crossing

LANE_MIN, LANE_MAX = 3, 16
TIME_WIDTH: Final = 11
WORDS_WIDTH: Final = 48
"""Columns that are kept for what a message says."""
PLAIN: Final = str.maketrans("●─▶◀│✗◆", "o-><|x*")
"""For terminals that cannot say more."""
LANE, ROW, TOP, LEFT = 150, 18, 40, 90
COLOURS: Final = (
    (("Suspect", "Dead"), "#c0392b"),
    (("Alive",), "#1e8449"),
    (("PushPull",), "#2471a3"),
    (("LeaveIntent", "JoinIntent", "UserEvent", "Query", "QueryResponse", "Relay"), "#b9770e"),
)
OTHERS: Final = "#7f8c8d"
STYLE: Final = (
    "text{font:10px system-ui,sans-serif;fill:#222}.lane{stroke:#ccc}.time{fill:#888;text-anchor:end}"
    ".name{font-weight:600;text-anchor:middle}.mark{fill:#8e44ad}line.lost{stroke-dasharray:4 3}"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, other than a message. `member` is whom it happened to, empty for all."""

    at: float
    member: str
    text: str


def lanes_of(members: Sequence[str], crossings: Sequence[Crossing], marks: Sequence[Mark]) -> list[str]:
    """Whom to draw: those that have to do with what is shown, in their order, then addresses that nobody has."""
    met = {end for crossing in crossings for end in (crossing.source, crossing.to)} | {mark.member for mark in marks}
    met.discard("")
    return [*(name for name in members if name in met), *sorted(met.difference(members))]


# on a terminal


def lines(lanes: Sequence[str], crossings: Sequence[Crossing], marks: Sequence[Mark], width: int) -> Iterator[str]:
    """A line per message or mark, in the order of time."""
    room = (width - TIME_WIDTH - WORDS_WIDTH) // max(1, len(lanes))
    wide = max(LANE_MIN, min(LANE_MAX, room, max(map(len, lanes), default=0) + 2))
    places = {name: number * wide + wide // 2 for number, name in enumerate(lanes)}
    total = wide * len(lanes)
    yield " " * TIME_WIDTH + "".join(_title(name, wide).center(wide) for name in lanes).rstrip()
    entries: list[Crossing | Mark] = [*crossings, *marks]
    for entry in sorted(entries, key=lambda each: each.at):
        row = [" "] * total
        for place in places.values():
            row[place] = "│"
        if isinstance(entry, Mark):
            for name in [entry.member] if entry.member else lanes:
                row[places[name]] = "◆"
            words = f"{entry.member}: {entry.text}" if entry.member else entry.text
        else:
            _draw(row, places[entry.source], places[entry.to], arrives=bool(entry.delays))
            words = f"{entry.what} ({entry.transport}, {entry.end})"
        yield f"{entry.at:9.4f}s {''.join(row)}  {words}".rstrip()


def _title(name: str, wide: int) -> str:
    """As much of a name as fits; of `moot-12` the number says most."""
    return name if len(name) < wide else name.rpartition("-")[2][: wide - 1]


def _draw(row: list[str], start: int, end: int, *, arrives: bool) -> None:
    low, high = sorted((start, end))
    row[low : high + 1] = "─" * (high - low + 1)
    row[start] = "●"
    if start != end:
        row[end] = ("▶" if end > start else "◀") if arrives else "✗"


# as SVG


def svg(lanes: Sequence[str], crossings: Sequence[Crossing], marks: Sequence[Mark], title: str) -> str:
    """The diagram as an SVG document."""
    return ET.tostring(_drawing(lanes, crossings, marks, title), encoding="unicode")


def html(lanes: Sequence[str], crossings: Sequence[Crossing], marks: Sequence[Mark], title: str) -> str:
    """The diagram as a page of its own; pointing at an arrow says all about it."""
    drawing = svg(lanes, crossings, marks, title)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n'
        "<style>body{font-family:system-ui,sans-serif;margin:1.5rem}h1{font-size:1.1rem}svg{background:#fff}</style>\n"
        f"<h1>{escape(title)}</h1>\n<p>Members side by side, time downwards and not to scale; a dashed arrow did not "
        f"arrive. Point at one to read it.</p>\n{drawing}\n</html>\n"
    )


def _drawing(lanes: Sequence[str], crossings: Sequence[Crossing], marks: Sequence[Mark], title: str) -> ET.Element:
    instants = {round(mark.at, 4) for mark in marks}
    for crossing in crossings:
        instants |= {round(at, 4) for at in (crossing.at, *(crossing.at + delay for delay in crossing.delays))}
    rows = {at: TOP + ROW * (number + 1) for number, at in enumerate(sorted(instants))}
    places = {name: LEFT + LANE * number + LANE // 2 for number, name in enumerate(lanes)}
    height = TOP + ROW * (len(rows) + 2)
    size = {"width": f"{LEFT + LANE * len(lanes) + LANE}", "height": f"{height}"}
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size})
    ET.SubElement(root, "title").text = title
    ET.SubElement(root, "style").text = STYLE
    definitions = ET.SubElement(root, "defs")
    for colour in (*(colour for _, colour in COLOURS), OTHERS):
        _arrow_head(definitions, colour)
    for name, x in places.items():
        _text(root, x, TOP - 14, name, "name")
        _line(root, (x, TOP), (x, height - ROW), "lane")
    for at, y in rows.items():
        _text(root, LEFT - 10, y + 3, f"{at:.4f}s", "time")
    for mark in marks:
        for name in [mark.member] if mark.member else lanes[:1]:
            _mark(root, places[name], rows[round(mark.at, 4)], mark)
    told: set[tuple[int, int, str]] = set()
    for crossing in crossings:
        ends = (places[crossing.source], places[crossing.to])
        for delay in crossing.delays or (None,):
            group = _arrow(root, crossing, ends, rows, delay)
            _label(group, crossing, ends, rows, told)
    return root


def _arrow(
    root: ET.Element, crossing: Crossing, ends: tuple[int, int], rows: dict[float, int], delay: float | None
) -> ET.Element:
    colour = next((colour for kinds, colour in COLOURS if crossing.what.startswith(kinds)), OTHERS)
    start, end = ends
    y = rows[round(crossing.at, 4)]
    group = ET.SubElement(root, "g")
    ET.SubElement(group, "title").text = f"{crossing.at:.4f}s {crossing}"
    ET.SubElement(group, "circle", {"cx": f"{start}", "cy": f"{y}", "r": "3", "fill": colour})
    if delay is None:
        # it goes most of the way, and is lost
        line = _line(group, (start, y), (start + (end - start) * 4 // 5, y + ROW // 2), "lost")
    else:
        line = _line(group, (start, y), (end, rows[round(crossing.at + delay, 4)]), "")
        line.set("marker-end", f"url(#head-{colour[1:]})")
    line.set("stroke", colour)
    return group


def _label(
    group: ET.Element,
    crossing: Crossing,
    ends: tuple[int, int],
    rows: dict[float, int],
    told: set[tuple[int, int, str]],
) -> None:
    """The kinds of the messages beside the sender, once for all that it sends that way at one instant."""
    kinds = ", ".join(dict.fromkeys(text.partition(" ")[0] for text in crossing.texts))
    way = 1 if ends[1] >= ends[0] else -1
    x, y = ends[0] + 8 * way, rows[round(crossing.at, 4)] - 4
    if (x, y, kinds) not in told:
        told.add((x, y, kinds))
        _text(group, x, y, kinds, "", "start" if way > 0 else "end")


def _mark(root: ET.Element, x: int, y: int, mark: Mark) -> None:
    ET.SubElement(root, "rect", {"x": f"{x - 4}", "y": f"{y - 4}", "width": "8", "height": "8", "class": "mark"})
    _text(root, x + 8, y + 3, mark.text, "mark")


def _arrow_head(definitions: ET.Element, colour: str) -> None:
    size = {"viewBox": "0 0 8 8", "refX": "8", "refY": "4", "markerWidth": "7", "markerHeight": "7"}
    marker = ET.SubElement(
        definitions, "marker", {"id": f"head-{colour[1:]}", "orient": "auto-start-reverse", **size}
    )
    ET.SubElement(marker, "path", {"d": "M0 0 8 4 0 8z", "fill": colour})


def _line(root: ET.Element, start: tuple[int, int], end: tuple[int, int], kind: str) -> ET.Element:
    ends = {"x1": f"{start[0]}", "y1": f"{start[1]}", "x2": f"{end[0]}", "y2": f"{end[1]}"}
    return ET.SubElement(root, "line", {**ends, **({"class": kind} if kind else {})})


def _text(root: ET.Element, x: int, y: int, words: str, kind: str, anchor: str = "") -> None:
    given = {"class": kind} if kind else {}
    given |= {"text-anchor": anchor} if anchor else {}
    ET.SubElement(root, "text", {"x": f"{x}", "y": f"{y}", **given}).text = words
