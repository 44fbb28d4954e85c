"""Prober: one probe round at a time, and the relaying of other members' probes.

A round: ping; no answer in time: ask others to ping, and ping over TCP; still nothing at the deadline:
the member becomes suspect. Lifeguard's part: relays that answer with a nack show that our own link is
good, and every failed round in which they are missing makes us doubt ourselves (awareness), which
stretches the next rounds.
"""

from moot.gossip.record import Address, Ticket, message
from moot.gossip.swim.claims import Claims
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.events import MemberForgotten, ProbeFailed, StreamPingOnly
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import (
    Ack,
    IndirectPing,
    Nack,
    Ping,
    StreamMessage,
    Suspect,
)
from moot.gossip.swim.spread import CRC_PROTOCOL_MIN, Spread
from moot.gossip.swim.state import State
from moot.gossip.swim.table import ProbeOrder

STREAM_PING_PROTOCOL_MIN = 3
NACK_PROTOCOL_MIN = 4
RELAYS_MAX = 4096
"""Probes of others that we relay at a time; each lives for probe_timeout.

Deviation: the reference relays without bound; here further requests are dropped, which costs the requester
one relay of three.
"""


class Probe:
    """The one probe under way."""

    __slots__ = (
        "deadline",
        "indirect",
        "nacks_expected",
        "nacks_heard",
        "sent_at",
        "seq",
        "stream_answered",
        "target",
    )

    def __init__(self, target: Member, seq: int, now: float, deadline: float) -> None:
        self.target = target
        self.seq = seq
        self.sent_at = now
        self.deadline = deadline
        self.indirect = False
        self.nacks_expected = 0
        self.nacks_heard = 0
        self.stream_answered = False


@message
class RelayedProbe:
    """Somebody asked us to ping a member: to whom the answer goes, under which number."""

    requester: Address
    seq: int
    nack: bool


class Prober:
    """Probes members in random order, each once per pass, and answers or relays the probes of others."""

    __slots__ = ("_claims", "_order", "_probe", "_relays", "_spread", "_state", "_stream_pings")

    def __init__(self, state: State, spread: Spread, claims: Claims) -> None:
        self._state = state
        self._spread = spread
        self._claims = claims
        self._order = ProbeOrder()
        self._probe: Probe | None = None
        self._relays: dict[int, RelayedProbe] = {}
        self._stream_pings: dict[Ticket, str] = {}
        """TCP pings under way, and whom they are for; they may outlive their probe."""

    def start(self, now: float) -> None:
        """Begin, at a random moment within the first interval so that nodes don't beat in time."""
        state = self._state
        state.effects.set_timer(state.rng.random() * state.config.probe_interval, Timer.PROBE, 0)

    def on_tick(self, now: float) -> None:
        """Time for the next probe; skipped while one is still under way (its deadline may be stretched)."""
        state = self._state
        if self._probe is None:
            target = self._next_target(now)
            if target is not None:
                self._begin(now, target)
        state.effects.set_timer(state.config.probe_interval, Timer.PROBE, 0)

    def on_ping(self, now: float, source: Address, ping: Ping) -> None:
        """Answer, if it is meant for us: a stray ping for a former owner of our address is none."""
        if ping.node and ping.node != self._state.name:
            return
        self._spread.send(now, ping.source or source, Ack(ping.seq, self._state.upper.ack_payload()))

    def on_indirect_ping(self, now: float, source: Address, request: IndirectPing) -> None:
        """Ping the target for the requester, under a number and source of our own."""
        state = self._state
        if len(self._relays) >= RELAYS_MAX:
            return
        seq = state.next_seq()
        self._relays[seq] = RelayedProbe(request.source or source, request.seq, request.nack)
        state.effects.set_timer(state.config.probe_timeout, Timer.RELAY_TIMEOUT, seq)
        me = state.me
        target = request.target if request.target.port else Address(request.target.ip, me.address.port)
        self._spread.send(now, target, Ping(seq, request.node, me.address, me.name))

    def on_relay_timeout(self, now: float, seq: int) -> None:
        """The target of a relayed probe did not answer: say so, if that was asked for."""
        relay = self._relays.pop(seq, None)
        if relay is not None and relay.nack:
            self._spread.send(now, relay.requester, Nack(relay.seq))

    def on_ack(self, now: float, source: Address, ack: Ack) -> None:
        """An answer to our probe, or to one that we relay. Unknown numbers are late or forged: nothing."""
        probe = self._probe
        if probe is not None and ack.seq == probe.seq:
            self._probe = None
            direct = not probe.indirect or source == probe.target.address
            self._note(now, probe.target.name, now - probe.sent_at if direct else None)
            self._state.awareness.change(-1)
            if not probe.indirect:
                self._state.counters.probe_rtts.add(now - probe.sent_at)
                self._state.upper.on_rtt(now, probe.target, now - probe.sent_at, ack.payload)
            return
        relay = self._relays.pop(ack.seq, None)
        if relay is not None:
            self._spread.send(now, relay.requester, Ack(relay.seq))

    def on_nack(self, now: float, source: Address, nack: Nack) -> None:
        """A relay is well, but heard nothing from the target either."""
        if self._probe is not None and nack.seq == self._probe.seq:
            self._probe.nacks_heard += 1

    def on_timeout(self, now: float, seq: int) -> None:
        """No direct answer in time: try through others, and by TCP."""
        probe = self._probe
        if probe is None or probe.seq != seq:
            return
        state = self._state
        probe.indirect = True
        me = state.me
        target = probe.target
        for peer in state.members.choose(
            state.rng,
            state.config.indirect_checks,
            lambda member: member.status is Status.ALIVE and member.name not in (me.name, target.name),
        ):
            wants_nack = peer.protocol_max >= NACK_PROTOCOL_MIN
            probe.nacks_expected += wants_nack
            request = IndirectPing(seq, target.address, target.name, wants_nack, me.address, me.name)
            self._spread.send(now, peer.address, request)
        if state.config.stream_pings and target.protocol_max >= STREAM_PING_PROTOCOL_MIN:
            ping = Ping(seq, target.name, me.address, me.name)
            ticket = state.open_stream(target.address, ping, max(0.0, probe.deadline - now), self)
            self._stream_pings[ticket] = target.name

    def on_stream_end(self, now: float, ticket: Ticket, reply: StreamMessage | None, reason: str) -> None:
        """A TCP ping ended. It counts at the deadline only, for a packet may still come."""
        probe, name = self._probe, self._stream_pings.pop(ticket)
        contacts = self._state.contacts
        if contacts is not None:
            contacts.note_stream(now, name, reply is not None, reason)
        if probe is not None and isinstance(reply, Ack) and reply.seq == probe.seq:
            probe.stream_answered = True

    def on_deadline(self, now: float, seq: int) -> None:
        """The probe is over: reachable by TCP at least, or suspect."""
        probe = self._probe
        if probe is None or probe.seq != seq:
            return
        self._probe = None
        self._note(now, probe.target.name, None)
        state = self._state
        if probe.stream_answered:
            state.awareness.change(-1)
            state.upper.on_event(now, StreamPingOnly(probe.target))
            return
        if probe.nacks_expected:
            state.awareness.change(max(0, probe.nacks_expected - probe.nacks_heard))
        else:
            state.awareness.change(+1)
        state.counters.probes_failed += 1
        state.upper.on_event(now, ProbeFailed(probe.target, probe.nacks_expected, probe.nacks_heard))
        held = state.members.get(probe.target.name)
        if held is not None:
            self._claims.suspect(now, Suspect(probe.target.incarnation, held.name, state.name))

    def _note(self, now: float, name: str, rtt: float | None) -> None:
        """A member itself answered our ping, or did not."""
        contacts = self._state.contacts
        if contacts is not None:
            contacts.note_packet(now, name, rtt)

    def _begin(self, now: float, target: Member) -> None:
        state = self._state
        config = state.config
        seq = state.next_seq()
        duration = state.awareness.scale(config.probe_interval)
        self._probe = Probe(target, seq, now, now + duration)
        state.counters.probes += 1
        me = state.me
        ping = Ping(seq, target.name, me.address, me.name)
        if target.status is Status.SUSPECT:
            # the suspect hears of it first (Lifeguard's buddy system), so that it can refute in time
            accusation = Suspect(target.incarnation, target.name, me.name)
            state.effects.send_packet(target.address, (ping, accusation), target.protocol_max >= CRC_PROTOCOL_MIN)
        else:
            self._spread.send(now, target.address, ping)
        # not stretched by awareness: a slow ack is still an ack, and asking others early costs little
        state.effects.set_timer(config.probe_timeout, Timer.PROBE_TIMEOUT, seq)
        state.effects.set_timer(duration, Timer.PROBE_DEADLINE, seq)

    def _next_target(self, now: float) -> Member | None:
        """The next alive or suspect member of this pass. At most one whole pass of others is skipped."""
        state = self._state
        table = state.members
        for _ in range(table.row_count + 1):
            row = self._order.next(state.rng, table.row_count)
            if row is None:
                self._reap(now)
                continue
            member = table.at(row)
            if member is not None and member.status <= Status.SUSPECT and member.name != state.name:
                return member
        return None

    def _reap(self, now: float) -> None:
        """At the end of a pass: forget who has been dead or left for longer than we gossip to the dead."""
        state = self._state
        since = now - state.config.gossip_to_the_dead_time
        gone = [name for name, at in state.members.changed_at.items() if at < since and name != state.name]
        for name in gone:
            member = state.members.get(name)
            assert member is not None
            self._claims.forget(now, name)
            state.upper.on_event(now, MemberForgotten(member))
        if state.members.pack():
            self._order.restart()
