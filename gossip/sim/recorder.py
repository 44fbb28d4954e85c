"""Recorder: turns what agents and whoever breaks them tell into the records of a History."""

from collections.abc import Sequence
from hashlib import blake2b

from moot.gossip.afflict import active
from moot.gossip.faults import Conditions
from moot.gossip.serf.events import MemberChange, MemberEvent, MemberLeaving, UserEventReceived
from moot.gossip.serf.members import SerfMember
from moot.gossip.sim.history import (
    EventDelivered,
    FaultBegan,
    FaultEnded,
    History,
    KeyState,
    Life,
    Refuted,
    Seen,
)
from moot.gossip.swim import events as swim

KEY_HASH_SIZE = 6


class Recorder:
    """Writes a History. Every method takes the time first."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._views: dict[str, dict[str, Seen]] = {}
        self._faults: list[str] = []
        self._keys: dict[str, tuple[str, ...]] = {}

    def event(self, at: float, observer: str, event: object) -> None:
        """An agent's core told of something; what no checker asks about is left out."""
        match event:
            case MemberEvent(change=MemberChange.REAP, member=member):
                self._saw(at, observer, member, "none")
            case MemberEvent(member=member, accuser=accuser):
                self._saw(at, observer, member, member.status.value, accuser)
            case MemberLeaving(member=member):
                held = self._views.get(observer, {}).get(member.name)
                incarnation = max(member.record.incarnation, held.incarnation if held else 0)
                self._changed(at, observer, member.name, member.status.value, incarnation, ltime=member.ltime)
            case swim.MemberSuspected(member=record, accuser=accuser):
                self._changed(at, observer, record.name, "suspect", record.incarnation, accuser=accuser)
            case swim.SuspicionLifted(member=record):
                self._changed(at, observer, record.name, "alive", record.incarnation)
            case swim.SuspicionExpired(member=record, confirmed=confirmed):
                held = self._views.get(observer, {}).get(record.name)
                accuser = held.accuser if held else ""
                self._changed(
                    at, observer, record.name, "suspect", record.incarnation, accuser=accuser, confirmed=confirmed
                )
            case swim.Refuted(incarnation=incarnation, accuser=accuser):
                self.history.add(Refuted(at, observer, incarnation, accuser))
            case UserEventReceived(event=heard):
                payload = heard.payload.decode(errors="replace")
                self.history.add(EventDelivered(at, observer, heard.name, payload, heard.ltime))

    def life(self, at: float, agent: str, what: str, member: str = "", address: str = "") -> None:
        """Something became of an agent; one that starts knows nobody."""
        if what == "started":
            self._views.pop(agent, None)
            self._keys.pop(agent, None)
        self.history.add(Life(at, agent, what, "" if member == agent else member, address))

    def conditions(self, at: float, conditions: Conditions, more: Sequence[str] = ()) -> None:
        """The state of the world as it is now, and other words of what is wrong: what is new began, else ended.

        Stopped members are left out: that is told of their lives.
        """
        now = [words for words in (*active(conditions), *more) if not words.startswith("stop ")]
        for words in self._faults:
            if words not in now:
                self.history.add(FaultEnded(at, words))
        for words in now:
            if words not in self._faults:
                self.history.add(FaultBegan(at, words))
        self._faults = now

    def keys(self, at: float, agent: str, keys: Sequence[bytes]) -> None:
        """The keys that an agent has, the primary one first; recorded when they changed."""
        hashes = tuple(blake2b(key, digest_size=KEY_HASH_SIZE).hexdigest() for key in keys)
        if self._keys.get(agent) != hashes:
            self._keys[agent] = hashes
            self.history.add(KeyState(at, agent, hashes))

    def _saw(self, at: float, observer: str, member: SerfMember, status: str, accuser: str = "") -> None:
        held = self._views.get(observer, {}).get(member.name)
        incarnation, confirmed = member.record.incarnation, 0
        if held and status == "failed":
            accuser, confirmed = accuser or held.accuser, held.confirmed
        if held and status in ("left", "none"):
            # an intent brings no record: Serf's own may be older than what Swim knows
            incarnation = max(incarnation, held.incarnation)
        self._changed(
            at,
            observer,
            member.name,
            status,
            incarnation,
            ltime=member.ltime,
            accuser=accuser,
            confirmed=confirmed,
            address=str(member.address),
        )

    def _changed(
        self,
        at: float,
        observer: str,
        subject: str,
        status: str,
        incarnation: int,
        *,
        ltime: int | None = None,
        accuser: str = "",
        confirmed: int = 0,
        address: str = "",
    ) -> None:
        view = self._views.setdefault(observer, {})
        held = view.get(subject)
        if held is not None:
            ltime = held.ltime if ltime is None else ltime
            address = address or held.address
        before = held.status if held else "none"
        seen = Seen(at, observer, subject, before, status, incarnation, ltime or 0, accuser, confirmed, address)
        if status == "none":
            view.pop(subject, None)
        else:
            view[subject] = seen
        self.history.add(seen)
