"""Whatever befalls a simulated pool, in whatever order: when it is over, the lab's checkers find nothing wrong.

A failure prints the scenario as a file, and the command that plays it. `make explore` tries many times as much.
"""

import os
from dataclasses import replace

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from moot.gossip.actions import STARTING_VERBS, parse
from moot.gossip.errors import GossipError
from moot.gossip.serf.members import MemberStatus
from moot.gossip.sim.lab import SimLab, judge
from moot.gossip.sim.player import READY_WITHIN, Player
from moot.gossip.sim.scenario import AnyStep, ClusterSpec, Expect, Goal, Scenario, Step, Wait
from moot.gossip.sim.scenario_file import dump
from moot.gossip.sim.verdicts import Outcome

EXAMPLES = int(os.environ.get("MOOT_EXAMPLES", "150"))
SIZE_MAX = 5
STEPS = 20
MOMENT = 0.1
SETTLE = 30.0
LOOK_AGAIN = 15.0
CALM_WITHIN = 150.0
# not `resurrection`: who wakes up after the others have forgotten somebody dead says once more that it lives
INVARIANTS: tuple[Expect, ...] = (
    Expect(check="convergence", bounds={"within": CALM_WITHIN}),
    Expect(check="never-falls", bounds={}),
    Expect(check="reached", bounds={}),
)

whom = st.integers(1, SIZE_MAX)
others = st.integers(2, SIZE_MAX)
carried = st.sampled_from(("", " udp", " tcp"))
shares = st.sampled_from((5, 20, 50))


class PoolMachine(RuleBasedStateMachine):
    """A pool, and what is done to it. Member 1 never ends, so that there is always somebody to come back to."""

    begun = False

    @initialize(
        seed=st.integers(0, 999), size=st.integers(2, SIZE_MAX), snapshots=st.booleans(), sealed=st.booleans()
    )
    def begin(self, seed: int, size: int, snapshots: bool, sealed: bool) -> None:
        cluster = ClusterSpec(size=size, snapshots=snapshots, keys=("first",) if sealed else ())
        self.scenario = Scenario(name="found-by-hypothesis", cluster=cluster, expects=INVARIANTS)
        self.seed = seed
        self.steps: list[AnyStep] = []
        self.pause = self.skipped = 0.0
        self.lab = SimLab(self.scenario, seed)
        self.player = Player(self.scenario, seed, self.lab)
        self.lab.boot()
        self.begun = self.player.await_ready()
        assert self.begun

    # what can be done

    @rule(verb=st.sampled_from(("kill", "leave", "start", "restart", "move")), who=others, fresh=st.booleans())
    def process(self, verb: str, who: int, fresh: bool) -> None:
        if self.member(who) != "1":
            self.do(f"{verb} {self.member(who)}{' fresh' if fresh and verb in STARTING_VERBS else ''}")

    @rule(verb=st.sampled_from(("stop", "cont")), who=whom)
    def halt(self, verb: str, who: int) -> None:
        self.do(f"{verb} {self.member(who)}")

    @rule(side=st.sets(whom, min_size=1, max_size=3))
    def partition(self, side: set[int]) -> None:
        self.do(f"partition {','.join(sorted({self.member(who) for who in side}))}")

    @rule(one=whom, other=whom, way=st.sampled_from((">", "<>")), by=carried)
    def cut(self, one: int, other: int, way: str, by: str) -> None:
        self.do(f"cut {self.member(one)}{way}{self.member(other)}{by}")

    @rule(kind=st.sampled_from(("loss", "duplicate", "corrupt")), share=shares, by=carried)
    def spoil(self, kind: str, share: int, by: str) -> None:
        self.do(f"{kind} {share}%{by}")

    @rule(words=st.sampled_from(("delay 50ms±40ms", "reorder 30% 500ms", "bandwidth 4KB/s", "delay 2s tcp")))
    def hamper(self, words: str) -> None:
        self.do(words)

    @rule(
        who=whom, words=st.sampled_from(("slow {} 700ms", "clock {} +30s", "clock {} -5s drift 1%", "disk-full {}"))
    )
    def ail(self, who: int, words: str) -> None:
        self.do(words.format(self.member(who)))

    @rule(words=st.sampled_from(("heal", "heal partition", "calm")))
    def mend(self, words: str) -> None:
        self.do(words)

    @rule(verb=st.sampled_from(("force-leave", "prune")), who=others)
    def remove(self, verb: str, who: int) -> None:
        # by one side alone: of two that declare each other gone neither looks for the other, see force-left-by-both
        if self.member(who) != "1":
            self.do(f"{verb} {self.member(who)} by 1")

    @rule(verb=st.sampled_from(("event deploy", "query uptime")), by=whom)
    def ask(self, verb: str, by: int) -> None:
        self.do(f"{verb} by {self.member(by)}")

    @rule(seconds=st.sampled_from((0.2, 1.0, 3.0, 8.0, 20.0, 60.0)))
    def wait(self, seconds: float) -> None:
        self.pause += seconds

    @invariant()
    def who_runs_and_does_not_leave_holds_itself_for_alive(self) -> None:
        leaving = [command.agent for command in self.lab.deeds.pending if command.leaves] if self.begun else []
        for name in self.lab.cluster.hosts if self.begun else ():
            held = self.lab.cluster.serf(name).member(name)
            assert held is not None
            assert name in leaving or held.status in (MemberStatus.ALIVE, MemberStatus.LEAVING), held

    # how it is done, and written down

    def member(self, who: int) -> str:
        return str((who - 1) % self.scenario.cluster.size + 1)

    def do(self, words: str) -> None:
        """An action, a moment after the one before. One that cannot be carried out is none."""
        self.pause += MOMENT
        self.lab.pass_time(self.lab.now + self.pause)
        try:
            self.lab.do(parse(words))
        except GossipError:
            self.skipped += self.pause
        else:
            self.steps.append(Step(do=(parse(words),), after=round(self.pause + self.skipped, 3)))
            self.skipped = 0.0
        self.pause = 0.0

    def teardown(self) -> None:
        """Everything is mended, who is down starts again; then all must be well, and have been well.

        Who moved may lose the vote about its name, or a leave may end, a little later, so it is looked twice.
        """
        if not self.begun:
            return
        self.do("calm")
        for _ in range(2):
            for number, name in enumerate(self.lab.names[1:], 2):
                if name not in self.lab.cluster.hosts:
                    self.do(f"start {number} via 1")
                elif len(self.lab.cluster.view(name)) == 1:
                    # it left, so its snapshot names nobody; whoever runs it has to say where the pool is
                    self.do(f"join {number} 1")
            self.pause += LOOK_AGAIN
            self.do("calm")
        self.player.await_ready()
        self.lab.pass_time(self.lab.now + SETTLE)
        verdicts = judge(self.scenario, self.lab.end())
        self.steps.append(Wait(until=Goal("agreed"), within=READY_WITHIN))
        note(dump(replace(self.scenario, steps=tuple(self.steps), settle=SETTLE)))
        note(f"save this as found.toml, then: moot sim run found.toml --seed {self.seed}")
        assert not {expect.check: verdict for expect, verdict in verdicts if verdict.outcome is Outcome.VIOLATED}


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)
