"""Host: one simulated member. It drives a core as `net.Node` does, with a calendar for a clock."""

from collections.abc import Callable, Sequence

from moot.gossip.faults import Conditions, SkewedClock
from moot.gossip.record import Address, Ticket
from moot.gossip.serf.core import Serf
from moot.gossip.sim.calendar import Calendar
from moot.gossip.sim.network import Network
from moot.gossip.swim.core import Swim
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.messages import PacketMessage, StreamMessage
from moot.gossip.wire.keyring import Keyring

EARLY_MAX = 1e-4
"""A timer may come so many seconds early by rounding: one tick of the calendar."""


class Host:
    """Effects and endpoint of one core. Once it is killed nothing reaches it any more.

    Effects only put entries into the calendar, which is the queueing that the contract asks for.
    """

    __slots__ = (
        "_calendar",
        "_clocks",
        "_conditions",
        "_dialled",
        "_due",
        "_network",
        "_observe",
        "_paused",
        "_replies",
        "_skew",
        "_slow",
        "_waiting",
        "address",
        "alive",
        "core",
        "keyring",
        "label",
        "member",
        "name",
    )

    core: Swim | Serf
    """Set by the cluster right after construction, for a core needs its effects first."""

    def __init__(
        self,
        name: str,
        address: Address,
        *,
        calendar: Calendar,
        network: Network,
        conditions: Conditions,
        observe: Callable[[str, object], None],
        keyring: Keyring | None = None,
        label: str = "",
        member: str = "",
    ) -> None:
        """`member` is the name that it bears in the pool, if that is not its own."""
        self.name = name
        self.member = member or name
        self.label = label
        self.address = address
        self.keyring = keyring
        self.alive = True
        self._calendar = calendar
        self._network = network
        self._conditions = conditions
        self._clocks = conditions.clocks
        self._slow = conditions.slow
        self._paused = conditions.paused_names
        self._observe = observe
        self._waiting: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        """What came up while paused, oldest first."""
        self._dialled: set[Ticket] = set()
        self._replies: dict[Ticket, StreamMessage] = {}
        self._skew: SkewedClock | None = None
        """From when on its clock was ever wrong."""
        self._due = self._timer_due
        """Made once, not for each timer."""

    @property
    def now(self) -> float:
        """What its clock shows, in seconds."""
        if self._skew is None:
            if not self._clocks or self.name not in self._clocks:
                return self._calendar.now
            self._skew = SkewedClock()
        return self._skew.read(self._calendar.now, self._conditions.clock(self.name))

    # the core's effects

    def send_packet(self, to: Address, messages: Sequence[PacketMessage], crc: bool, /) -> None:
        self._network.send_packet(self, to, messages, crc)

    def open_stream(self, to: Address, first: StreamMessage, ticket: Ticket, timeout: float, /) -> None:
        self._dialled.add(ticket)
        self._network.open_stream(self, to, first, ticket, timeout)

    def reply_stream(self, ticket: Ticket, message: StreamMessage, /) -> None:
        self._replies[ticket] = message

    def set_timer(self, after: float, kind: Timer, token: int, /) -> None:
        self._wait(kind, token, self.now + after)

    def notify(self, event: object, /) -> None:
        self._observe(self.name, event)

    # what arrives

    def receive_packet(self, source: Address, messages: Sequence[PacketMessage]) -> None:
        self._take(self._on_packet, source, messages)

    def receive_request(self, source: Address, ticket: Ticket, message: StreamMessage) -> None:
        self._take(self._on_request, source, ticket, message)

    def receive_reply(self, ticket: Ticket, message: StreamMessage) -> None:
        self._take(self._on_reply, ticket, message)

    def receive_failure(self, ticket: Ticket, reason: str) -> None:
        self._drive(self._on_failure, ticket, reason)

    # life

    def kill(self) -> None:
        """Nothing is sent, nothing is heard any more."""
        self.alive = False
        self._waiting.clear()

    def catch_up(self) -> None:
        """After a pause: do what came up meanwhile, in its order."""
        waiting, self._waiting = self._waiting, []
        for step, args in waiting:
            self._drive(step, *args)

    def _wait(self, kind: Timer, token: int, due: float) -> None:
        """Set a timer for when its own clock shows `due`."""
        when = due
        if self._skew is not None:
            now = self._calendar.now
            when = now + self._skew.until(now, self._conditions.clock(self.name), due)
        self._calendar.at(when, self._due, kind, token, due)

    def _timer_due(self, kind: Timer, token: int, due: float) -> None:
        """Unless its clock was set back meanwhile: a timer never fires early."""
        if (self._skew is not None or self._clocks) and self.alive and self.now < due - EARLY_MAX:
            self._wait(kind, token, due)
        elif self._paused:
            self._drive(self._on_timer, kind, token)
        elif self.alive:
            self.core.on_timer(self.now, kind, token)

    def _take(self, step: Callable[..., None], *args: object) -> None:
        """Handle a message now, or late if the member is slow."""
        if self._slow and self.name in self._slow:
            self._calendar.after(self._slow[self.name], self._drive, step, *args)
        else:
            self._drive(step, *args)

    def _drive(self, step: Callable[..., None], *args: object) -> None:
        if not self.alive:
            return
        if self._paused and self.name in self._paused:
            self._waiting.append((step, args))
            return
        step(*args)

    def _on_packet(self, source: Address, messages: Sequence[PacketMessage]) -> None:
        self.core.on_packet(self.now, source, messages)

    def _on_timer(self, kind: Timer, token: int) -> None:
        self.core.on_timer(self.now, kind, token)

    def _on_request(self, source: Address, ticket: Ticket, message: StreamMessage) -> None:
        self.core.on_stream(self.now, source, ticket, message)
        self._network.finish_stream(self, ticket, self._replies.pop(ticket, None))

    def _on_reply(self, ticket: Ticket, message: StreamMessage) -> None:
        if ticket in self._dialled:
            self._dialled.remove(ticket)
            self.core.on_stream_reply(self.now, ticket, message)

    def _on_failure(self, ticket: Ticket, reason: str) -> None:
        if ticket in self._dialled:
            self._dialled.remove(ticket)
            self.core.on_stream_failed(self.now, ticket, reason)
