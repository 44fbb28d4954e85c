"""Timeline: a History made ready for questions. Who ran when, who saw whom as what, what was broken between whom."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf
from statistics import median
from typing import Final

from moot.gossip.actions import Action, ForceLeave, Join, parse
from moot.gossip.afflict import afflict
from moot.gossip.errors import ConfigError
from moot.gossip.faults import Conditions
from moot.gossip.sim.history import Command, FaultBegan, FaultEnded, History, Life, Record, Seen

GONE: Final = ("failed", "left", "none")
THERE: Final = ("alive", "suspect", "leaving")
BLANK: Final = -1
"""The incarnation in a view that is empty because its observer starts anew."""
CRASHES: Final = ("killed", "ended")


@dataclass(frozen=True, slots=True)
class Span:
    """From `began` to `ended` (seconds; inf: to the end of the run and beyond)."""

    began: float
    ended: float

    def meets(self, began: float, ended: float) -> bool:
        """Whether it has an instant in common with that time, bounds included."""
        return self.began <= ended and began <= self.ended


@dataclass(frozen=True, slots=True)
class Up:
    """One life of an agent: `how` it ended is `killed`, `left`, `ended`, or empty if it did not."""

    agent: str
    member: str
    span: Span
    how: str
    leaving_at: float = inf
    """When it began to leave."""


class Timeline:
    """Answers about one run. Everything is computed from the records, once."""

    def __init__(self, history: History) -> None:
        self.history = history
        records = history.records
        self.end = max((record.at for record in records), default=0.0)
        self.views: dict[tuple[str, str], list[Seen]] = {}
        """All that an observer saw of a subject, over all its lives."""
        self._times: dict[tuple[str, str], list[float]] = {}
        self.lives: dict[str, list[Up]] = {}
        """By agent, in order."""
        self._stops: dict[str, list[Span]] = {}
        self.troubles: list[tuple[Span, str]] = []
        """Faults and their words, by their begin."""
        self._read()
        self._eras = list(self._conditions())

    # lives

    def ups(self, member: str) -> list[Up]:
        """The lives of all agents that bear that name."""
        return [up for lives in self.lives.values() for up in lives if up.member == member]

    def all_lives(self) -> Iterator[Up]:
        """Every life of every agent."""
        for lives in self.lives.values():
            yield from lives

    def is_up(self, member: str, since: float, until: float) -> bool:
        """Whether an agent of that name ran, unstopped, for all that time."""
        return any(self.runs(up.agent, since, until) for up in self.ups(member))

    def bears(self, member: str, at: float) -> bool:
        """Whether an agent of that name runs after what happened at that instant."""
        return any(up.span.began <= at < up.span.ended for up in self.ups(member))

    def runs(self, agent: str, since: float, until: float) -> bool:
        """Whether one life of that agent covers all that time, and it was never stopped in it."""
        covered = any(up.span.began <= since and until <= up.span.ended for up in self.lives.get(agent, ()))
        return covered and not any(stop.meets(since, until) for stop in self._stops.get(agent, ()))

    def running(self, at: float) -> list[str]:
        """The agents that run, stopped ones too."""
        return [agent for agent in self.lives if self.life_at(agent, at) is not None]

    def life_at(self, agent: str, at: float) -> Up | None:
        """The life of an agent at an instant."""
        return next((up for up in self.lives.get(agent, ()) if up.span.began <= at < up.span.ended), None)

    def crashes(self) -> list[Up]:
        """Lives that ended without a leave."""
        return [up for up in self.all_lives() if up.how in CRASHES and up.leaving_at == inf]

    def next_start(self, member: str, after: float) -> float:
        """When an agent of that name starts next, maybe at that very instant; inf for never."""
        return min((up.span.began for up in self.ups(member) if up.span.began >= after), default=inf)

    def stops(self) -> Iterator[Span]:
        """When anybody was stopped."""
        for spans in self._stops.values():
            yield from spans

    def stops_of(self, agent: str) -> list[Span]:
        """When an agent was stopped, in order."""
        return list(self._stops.get(agent, ()))

    # views

    def view(self, observer: str, subject: str, at: float) -> Seen | None:
        """What an observer held of a subject at an instant, None when it listed none."""
        found = self.views.get((observer, subject))
        if not found:
            return None
        place = bisect_right(self._times[observer, subject], at)
        if not place:
            return None
        seen = found[place - 1]
        if self.life_at(observer, at) is None or seen.status == "none":
            return None
        return seen

    def status(self, observer: str, subject: str, at: float) -> str:
        """`alive suspect leaving left failed`, or `none`."""
        seen = self.view(observer, subject, at)
        return "none" if seen is None else seen.status

    def seen_after(self, observer: str, subject: str, after: float) -> Iterator[Seen]:
        """What an observer saw of a subject later than an instant."""
        found = self.views.get((observer, subject), [])
        yield from found[bisect_right(self._times.get((observer, subject), []), after) :]

    # conditions

    def conditions(self, since: float, until: float) -> Iterator[Conditions]:
        """The states of the network during some time."""
        for span, conditions in self._eras:
            if span.meets(since, until):
                yield conditions

    def parted(self, one: str, other: str, since: float, until: float, *, wholly: bool = False) -> bool:
        """Whether nothing got through between two agents, one way or (`wholly`) both, at any time in it.

        Neither packets nor streams, that is: one of them is enough for a member to be found alive.
        """
        count = all if wholly else any
        return any(
            count(_is_cut(conditions, *way) for way in ((one, other), (other, one)))
            for conditions in self.conditions(since, until)
        )

    def lonely(self, agent: str, since: float, until: float) -> bool:
        """Whether an agent could not reach any other one that ran, at any time in it."""
        others = self._others(agent, until)
        return bool(others) and any(
            all(_is_cut(conditions, agent, other) for other in others) for conditions in self.conditions(since, until)
        )

    def outcast(self, agent: str, since: float, until: float) -> bool:
        """Whether an agent was cut off from at least half of the others that ran, at any time in it."""
        others = self._others(agent, until)
        return bool(others) and any(
            2 * sum(_is_cut(conditions, agent, other) or _is_cut(conditions, other, agent) for other in others)
            >= len(others)
            for conditions in self.conditions(since, until)
        )

    def _others(self, agent: str, at: float) -> list[str]:
        return [other for other in self.lives if other != agent and self.life_at(other, at) is not None]

    def ailing(self, agent: str, since: float, until: float) -> bool:
        """Whether an agent was slow or its clock wrong at any time in it."""
        return any(
            agent in conditions.slow or agent in conditions.clocks for conditions in self.conditions(since, until)
        )

    def disturbances(self) -> list[float]:
        """The instants at which anything was broken or mended, or anybody came, went, or was told to, in order."""
        found = {at for span, _ in self.troubles for at in (span.began, span.ended)}
        found.update(at for span in self.stops() for at in (span.began, span.ended))
        for up in self.all_lives():
            found.update((up.span.began, up.span.ended, up.leaving_at))
        found.update(command.at - command.seconds for command, action in self.commands(Join, ForceLeave))
        return sorted(at for at in found if at < inf)

    def commands(self, *kinds: type[Action]) -> Iterator[tuple[Command, Action]]:
        """The commands that are actions of these kinds."""
        for command in self.history.of(Command):
            try:
                action = parse(command.words)
            except ConfigError:
                continue  # given by hand, in other words
            if isinstance(action, kinds):
                yield command, action

    def broken(self, at: float) -> bool:
        """Whether anything is wrong at that instant, after what was done then."""
        return any(span.began <= at < span.ended for span, _ in self.troubles) or any(
            span.began <= at < span.ended for span in self.stops()
        )

    def first_deed(self) -> float:
        """When anything was first done to the pool after it was made; inf for never."""
        found = [command.at - command.seconds for command in self.history.of(Command)]
        found += [span.began for span, _ in self.troubles]
        found += [span.began for span in self.stops()]
        found += [min(up.span.ended, up.leaving_at) for up in self.all_lives()]
        return min(found, default=inf)

    # reading

    def _read(self) -> None:
        open_faults: dict[str, float] = {}
        for record in self.history.records:
            match record:
                case Seen():
                    self._see(record)
                case Life():
                    self._live(record)
                case FaultBegan(at, words):
                    open_faults[words] = at
                case FaultEnded(at, words):
                    began = open_faults.pop(words, None)
                    if began is not None:
                        self.troubles.append((Span(began, at), words))
        self.troubles += [(Span(began, inf), words) for words, began in open_faults.items()]
        self.troubles.sort(key=lambda trouble: trouble[0].began)

    def _see(self, seen: Seen) -> None:
        pair = (seen.observer, seen.subject)
        self.views.setdefault(pair, []).append(seen)
        self._times.setdefault(pair, []).append(seen.at)

    def _live(self, record: Life) -> None:
        lives = self.lives.setdefault(record.agent, [])
        stops = self._stops.setdefault(record.agent, [])
        if record.what == "started":
            for observer, subject in [pair for pair in self.views if pair[0] == record.agent]:
                before = self.views[observer, subject][-1].status
                self._see(Seen(record.at, observer, subject, before, "none", BLANK))
            lives.append(Up(record.agent, record.member or record.agent, Span(record.at, inf), ""))
            return
        if record.what == "stopped":
            stops.append(Span(record.at, inf))
            return
        if record.what != "leaving" and stops and stops[-1].ended == inf:
            stops[-1] = replace(stops[-1], ended=record.at)
        if not lives or lives[-1].span.ended < inf:
            return
        last = lives[-1]
        if record.what == "leaving":
            lives[-1] = replace(last, leaving_at=record.at)
        elif record.what in ("killed", "left", "ended"):
            lives[-1] = replace(last, span=Span(last.span.began, record.at), how=record.what)

    def _conditions(self) -> Iterator[tuple[Span, Conditions]]:
        """The times between two changes of faults, and the state of the network in each."""
        names = list(dict.fromkeys([*self.history.names, *self.lives]))
        changes = sorted({at for span, _ in self.troubles for at in (span.began, span.ended)} | {-inf, inf})
        for began, ended in pairwise(changes):
            conditions = Conditions()
            for span, words in self.troubles:
                if span.began <= began and ended <= span.ended:
                    afflict(conditions, parse(words), names)
            yield Span(began, ended), conditions


class Agreement:
    """Whether all running observers see the same, and the truth about those who run; kept up to date.

    A suspect counts as alive. Those that do not run must look the same to all, whatever that is, unless
    `listed` is false; then they only must not look alive.
    """

    def __init__(self, timeline: Timeline, at: float, *, listed: bool) -> None:
        self._listed = listed
        self.observers = timeline.running(at)
        lives = [timeline.life_at(agent, at) for agent in self.observers]
        self.members = {up.member for up in lives if up is not None}
        self._counts: dict[str, Counter[str]] = {}
        self._held: dict[tuple[str, str], str] = {}
        self._wrong: set[str] = set()
        for subject in sorted({subject for _, subject in timeline.views} | self.members):
            counts = self._counts[subject] = Counter()
            for observer in self.observers:
                status = _coarse(timeline.status(observer, subject, at))
                self._held[observer, subject] = status
                counts[status] += 1
            self._judge(subject)

    @property
    def reached(self) -> bool:
        return not self._wrong

    @property
    def wrong(self) -> list[str]:
        """Whom they do not agree about."""
        return sorted(self._wrong)

    def look(self, seen: Seen) -> None:
        """An observer's view changed."""
        pair = (seen.observer, seen.subject)
        before = self._held.get(pair)
        if before is None:
            return
        status = _coarse(seen.status)
        counts = self._counts[seen.subject]
        counts[before] -= 1
        counts[status] += 1
        self._held[pair] = status
        self._judge(seen.subject)

    def describe(self, subject: str) -> str:
        """How a subject looks to how many."""
        counts = self._counts[subject]
        return ", ".join(f"{status} to {count}" for status, count in sorted(counts.items()) if count)

    def _judge(self, subject: str) -> None:
        counts = self._counts[subject]
        total = len(self.observers)
        if subject in self.members:
            right = counts["alive"] == total
        elif self._listed:
            right = counts["alive"] == 0 and max(counts.values(), default=0) == total
        else:
            right = counts["alive"] == 0
        (self._wrong.discard if right else self._wrong.add)(subject)


def _is_cut(conditions: Conditions, source: str, to: str) -> bool:
    return conditions.is_cut(source, to, "packet") and conditions.is_cut(source, to, "stream")


def _coarse(status: str) -> str:
    return "alive" if status == "suspect" else status


def quantile(values: list[float], part: float) -> float:
    """The value below which that part of them lies; the median for 0.5. Of at least one."""
    if part == 0.5:
        return median(values)
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def by_time(records: list[Record], after: float, until: float) -> Iterator[Record]:
    """The records later than an instant, up to another."""
    for record in records:
        if after < record.at <= until:
            yield record
