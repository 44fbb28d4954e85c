"""Whatever befalls a small pool, when it is over all see those who run as alive."""

from collections.abc import Callable
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from moot.gossip.errors import CommandError
from moot.gossip.faults import Fault
from moot.gossip.serf.events import UserEventReceived
from moot.gossip.sim import SimCluster

SIZE = 5
members = st.integers(0, SIZE - 1)
Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ("crash", "leave", "restart", "force-leave", "prune", "part", "heal", "lose", "event", "wait", "pause")
        ),
        members,
        members,
    ),
    max_size=14,
)


class Trial:
    """A pool, and the steps that happen to it. Member 0 never ends, so that there is always somebody to join."""

    def __init__(self, seed: int) -> None:
        self.pool = SimCluster(SIZE, seed=seed)
        self.pool.boot_cold()
        self.pool.run_until(self.pool.converged, 120)
        self._event_count = 0
        self._steps: dict[str, Callable[[str, str], None]] = {
            "crash": self._crash,
            "leave": self._leave,
            "restart": self._restart,
            "force-leave": lambda who, whom: self._force_leave(who, whom, False),
            "prune": lambda who, whom: self._force_leave(who, whom, True),
            "part": lambda who, _: self.pool.partition([who]),
            "heal": lambda *_: self.pool.heal(),
            "lose": lambda *_: self.pool.conditions.put("loss", Fault(loss=0.2, duplicate=0.1, jitter=0.05)),
            "event": self._event,
            "wait": lambda who, whom: self.pool.run_for(1 + 3 * int(who[1:]) + int(whom[1:])),
            "pause": self._pause,
        }

    def step(self, kind: str, one: int, other: int) -> None:
        self._steps[kind](f"n{one}", f"n{other}")
        self.pool.run_for(0.3)

    def end(self) -> None:
        """Everything is mended; who is down is started again, who reached nobody tries again, as agents do."""
        self.pool.heal()
        for name in self.pool.names:
            if name not in self.pool.hosts:
                self.pool.start(name, ["n0"])
            elif len(self.pool.view(name)) == 1:
                self.pool.join(name, ["n0"])

    def _crash(self, who: str, _: str) -> None:
        if who != "n0" and who in self.pool.hosts:
            self.pool.crash(who)

    def _leave(self, who: str, _: str) -> None:
        if who != "n0" and who in self.pool.hosts:
            self.pool.leave(who)

    def _restart(self, who: str, _: str) -> None:
        if who != "n0":
            self.pool.restart(who, ["n0"])

    def _force_leave(self, who: str, whom: str, prune: bool) -> None:
        if who in self.pool.hosts:
            with suppress(CommandError):  # it may time out while the network is parted
                self.pool.force_leave(who, whom, prune=prune)

    def _event(self, who: str, _: str) -> None:
        if who in self.pool.hosts:
            self._event_count += 1
            self.pool.serf(who).user_event(self.pool.now, "trial", str(self._event_count).encode())

    def _pause(self, who: str, _: str) -> None:
        if who in self.pool.hosts:
            self.pool.pause(who)
            self.pool.run_for(2)
            self.pool.resume(who)


@given(st.integers(0, 1000), steps)
@settings(max_examples=150, deadline=None)
def test_nobody_stays_leaving_or_failed_when_it_is_there(seed: int, taken: list[Step]) -> None:
    trial = Trial(seed)
    for step in taken:
        trial.step(*step)
    trial.end()
    everybody = dict.fromkeys(trial.pool.names, "alive")
    trial.pool.run_until(lambda: trial.pool.all_see(everybody), 300)


@given(st.integers(0, 1000), steps)
@settings(max_examples=100, deadline=None)
def test_no_agent_is_told_of_an_event_twice(seed: int, taken: list[Step]) -> None:
    trial = Trial(seed)
    told: set[tuple[str, int, int, bytes]] = set()
    seen = 0
    for step in taken:
        trial.step(*step)
        for _, name, heard in trial.pool.history[seen:]:
            if isinstance(heard, UserEventReceived):
                # one that restarts has forgotten what it was told
                key = (name, trial.pool.boots(name), heard.event.ltime, heard.event.payload)
                assert key not in told
                told.add(key)
        seen = len(trial.pool.history)
