"""A bug that is planted in the engine turns the scenario that is about it red, by the checker that should see it."""

from collections.abc import Callable

import pytest

from moot.gossip.serf.membership import Membership
from moot.gossip.serf.messages import LeaveIntent, UserEvent
from moot.gossip.serf.prune import Pruned, PruneMemory
from moot.gossip.serf.user_events import UserEvents
from moot.gossip.sim import library
from moot.gossip.sim.lab import run
from moot.gossip.sim.verdicts import Outcome
from moot.gossip.swim import claims
from moot.gossip.swim.claims import Claims, Verdict
from moot.gossip.swim.member import Member, Status

SEEDS = range(3)
Plant = Callable[[pytest.MonkeyPatch], None]


def without_refutation(patch: pytest.MonkeyPatch) -> None:
    """Nobody contradicts what is said of it."""

    def silent(self: Claims, now: float, accused: int, accuser: str) -> None:
        """Bear it."""

    patch.setattr(Claims, "refute", silent)


def without_the_suspicion_timer(patch: pytest.MonkeyPatch) -> None:
    """Who is suspected stays suspected."""

    def never(self: Claims, now: float, token: int) -> None:
        self._timers.pop(token)

    patch.setattr(Claims, "on_suspicion_timer", never)


def without_lamport_checks(patch: pytest.MonkeyPatch) -> None:
    """A leave intent that is older than what is held is taken for a newer one. It is not passed on, for it would be
    without end."""
    hear = Membership.on_leave_intent

    def hear_all(self: Membership, now: float, heard: LeaveIntent) -> bool:
        held = self.table.get(heard.node)
        if held is None or heard.ltime >= held.ltime:
            return hear(self, now, heard)
        hear(self, now, LeaveIntent(held.ltime + 1, heard.node, heard.prune))
        return False

    patch.setattr(Membership, "on_leave_intent", hear_all)


def without_the_prune_memory(patch: pytest.MonkeyPatch) -> None:
    """Who is pruned is forgotten, as in the reference."""

    def forget(self: PruneMemory, name: str, pruned: Pruned) -> None:
        """Note nothing."""

    patch.setattr(PruneMemory, "remember", forget)


def without_incarnations(patch: pytest.MonkeyPatch) -> None:
    """Any claim that a member is alive wins, however old."""

    def weigh(held: Member | None, heard: Member, me: str, reclaimable: bool) -> Verdict:
        if held is not None and held.name != me and held.status is Status.DEAD:
            return Verdict.APPLY
        return claims_weigh_alive(held, heard, me, reclaimable)

    claims_weigh_alive = claims.weigh_alive
    patch.setattr(claims, "weigh_alive", weigh)


def without_reconnects(patch: pytest.MonkeyPatch) -> None:
    """Who has failed is not looked for any more."""

    def nobody(self: Membership) -> None:
        return None

    patch.setattr(Membership, "lost_one", nobody)


def without_events(patch: pytest.MonkeyPatch) -> None:
    """An event is taken for an old one by whoever hears it from others."""
    taken = UserEvents.take

    def never(self: UserEvents, event: UserEvent) -> bool:
        taken(self, event)
        return False

    patch.setattr(UserEvents, "take", never)


BUGS: list[tuple[Plant, str, str]] = [
    (without_refutation, "half-deaf", "accuracy"),
    (without_refutation, "mass-restart", "convergence"),
    (without_the_suspicion_timer, "zombie-after-prune", "completeness"),
    (without_lamport_checks, "late-intents", "convergence"),
    (without_the_prune_memory, "zombie-after-prune", "zombie"),
    (without_incarnations, "old-claims", "resurrection"),
    (without_reconnects, "partition-heals", "convergence"),
    (without_events, "tcp-cut", "delivery"),
]


@pytest.mark.parametrize(("plant", "name", "checker"), BUGS, ids=[f"{p.__name__}: {n}" for p, n, _ in BUGS])
def test_a_planted_bug_is_found_and_its_absence_is_too(
    plant: Plant, name: str, checker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = library.scenario(name)

    def reds() -> int:
        found = ({expect.check: verdict for expect, verdict in run(scenario, seed).verdicts} for seed in SEEDS)
        return sum(verdicts[checker].outcome is Outcome.VIOLATED for verdicts in found)

    assert reds() == 0
    plant(monkeypatch)
    assert reds() > 0
