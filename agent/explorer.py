"""Explorer: plays many seeds of a scenario on all cores, by processes, and shrinks what goes wrong.

What is found does not depend on how many processes there are: results are taken in the order of the seeds.
"""

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from multiprocessing.connection import wait as wait_for_any
from typing import Final, TypeVar

from moot.agent.interrupts import Interrupts
from moot.gossip.sim.finding import Finding, Played, about, play
from moot.gossip.sim.scenario import Scenario
from moot.gossip.sim.schedules import Variation, varied
from moot.gossip.sim.shrink import RUNS_MAX, Shrunk, Trial, shrink

T = TypeVar("T")
R = TypeVar("R")
CHUNK: Final = 8
"""Seeds that a process gets at once."""
TERMINALS: Final = (signal.SIGINT, signal.SIGHUP)
"""Signals that a terminal sends to us and to our workers alike."""
AHEAD: Final = 3
"""Chunks per process that are handed out before the first of them is back."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A seed under which something goes wrong, and the scenario that the seed made."""

    seed: int
    scenario: Scenario
    finding: Finding


@dataclass(slots=True)
class Tally:
    """What came of many runs: properties by outcome, virtual seconds, events, and what went wrong."""

    run_count: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    event_count: int = 0
    violations: list[Violation] = field(default_factory=list)


class Workers:
    """Processes that play runs; with one job it is this one. They end with the block, and however we do."""

    def __init__(self, jobs: int, interrupts: Interrupts) -> None:
        self.jobs = jobs
        self._interrupts = interrupts
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        if self.jobs > 1:
            # not by fork: a progress bar has a thread
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.jobs, mp_context=spawn, initializer=_settle_in)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is not None:
            if kind is not None:
                for child in multiprocessing.active_children():
                    child.terminate()
            self._pool.shutdown(cancel_futures=True)

    def each(self, call: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """The results of calls, in the order of the items; who stops asking cancels the rest. Raises Interrupted."""
        if self._pool is None:
            for item in items:
                with self._interrupts.allowed():
                    found = call(item)
                yield found
            return
        rest = iter(items)
        under_way: list[Future[R]] = []
        try:
            while True:
                room = AHEAD * self.jobs - len(under_way)
                with _deaf():
                    under_way += [self._pool.submit(call, item) for item in islice(rest, room)]
                if not under_way:
                    return
                with self._interrupts.allowed():
                    wait(under_way[:1])
                yield under_way.pop(0).result()
        finally:
            for future in under_way:
                future.cancel()


def explore(
    scenario: Scenario,
    seeds: Sequence[int],
    variation: Variation,
    workers: Workers,
    *,
    wire: bool = False,
    keep_going: bool = False,
    told: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Play a scenario as each seed varies it, up to the first violation unless told to go on. Raises Interrupted.

    `told` hears how far it is.
    """
    tally = Tally()
    chunks = (seeds[first : first + CHUNK] for first in range(0, len(seeds), CHUNK))
    for results in workers.each(partial(_play_chunk, scenario, variation, wire), chunks):
        for seed, played in results:
            tally.run_count += 1
            tally.outcomes.update(played.outcomes)
            tally.seconds += played.seconds
            tally.event_count += played.event_count
            for finding in played.findings:
                tally.violations.append(Violation(seed, varied(scenario, seed, variation), finding))
            if played.findings and not keep_going:
                return tally
        told(tally)
    return tally


def shrunk(
    violation: Violation,
    workers: Workers,
    *,
    wire: bool = False,
    runs_max: int = RUNS_MAX,
    told: Callable[[Trial, int], None] = lambda best, runs: None,
) -> Shrunk:
    """The smallest run that goes wrong in the same way. `told` hears the best so far, and after how many runs.

    Raises Interrupted.
    """
    goes_wrong = partial(_goes_wrong, violation.finding, wire)
    count = 0

    def first_failing(trials: Sequence[Trial]) -> int | None:
        nonlocal count
        for place, wrong in enumerate(workers.each(goes_wrong, trials)):
            count += 1
            if wrong:
                told(trials[place], count)
                return place
        return None

    start = Trial(about(violation.scenario, violation.finding), violation.seed)
    return shrink(start, first_failing, runs_max=runs_max)


def _play_chunk(
    scenario: Scenario, variation: Variation, wire: bool, seeds: Sequence[int]
) -> list[tuple[int, Played]]:
    return [(seed, play(varied(scenario, seed, variation), seed, wire=wire)) for seed in seeds]


def _goes_wrong(finding: Finding, wire: bool, trial: Trial) -> bool:
    return any(finding.is_like(other) for other in play(trial.scenario, trial.seed, wire=wire).findings)


@contextmanager
def _deaf() -> Iterator[None]:
    """Who is started meanwhile hears no Ctrl-C until it has settled in; ours waits until after."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle_in() -> None:
    """In a worker: Ctrl-C is for who started us, and when that one is gone, so are we."""
    for number in TERMINALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TERMINALS)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), name="lifeline", daemon=True).start()


def _watch(sentinel: int) -> None:
    wait_for_any([sentinel])
    os._exit(1)
