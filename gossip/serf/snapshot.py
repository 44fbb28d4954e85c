"""Snapshot: what an agent writes down, so that after a restart it knows whom to look for and what is old news.

Lines of text, appended as things happen, replayed at the start (Serf's snapshot.go; a file of either can be given
to the other):

    alive: NAME IP:PORT     joined; IPv6 in brackets; NAME may contain blanks
    not-alive: NAME         left, failed, or was forgotten
    clock: N                the last Lamport time seen in intents; event-clock and query-clock alike
    leave                   we left on purpose; what is above counts only for who rejoins after a leave
    # moot failed: NAME IP:PORT     it failed, and this is where it was
    # …                     a comment

The line about failed members is ours. Serf takes it for a comment, and loses it when it compacts the file. With it
an agent that is restarted during an outage still knows who is missing. Any later line about the name undoes it.

A name is written as the bytes that it is on the wire. One that contains a line end is not written at all: it
could forge lines, escaping it would make it another name for Serf, and nobody but a liar has one.

Here is no file: `replay` takes what was read, `Recorder` answers with what to append.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from moot.gossip.pack import text_size
from moot.gossip.record import Address
from moot.gossip.serf.events import GivenUp, MemberChange, MemberEvent, QueryReceived, UserEventReceived
from moot.gossip.serf.lamport import LTIME_MAX

COMPACT_SIZE_MIN = 128 * 1024
"""Below this a file is never compacted."""
COMPACT_BYTES_PER_MEMBER = 256
"""A file is compacted when it has more than this for every member that it names."""
LINE_MAX = 128 * 1024
"""A longer line is skipped: an address and the longest name that any packet carries are half of that."""
LISTED_BYTES_MAX = 8 * 1024 * 1024
"""Most that alive members, and failed ones, are kept in; the oldest are dropped. More than Serf's table takes."""
LINE_COST = 64
"""What a line takes at most besides the name."""
COMPLAINTS_MAX = 10
"""So many faulty lines are described; the others are counted."""
QUOTED_MAX = 60
"""Bytes of a faulty line that are shown."""

ALIVE = b"alive: "
NOT_ALIVE = b"not-alive: "
FAILED = b"# moot failed: "
CLOCK = b"clock: "
EVENT_CLOCK = b"event-clock: "
QUERY_CLOCK = b"query-clock: "
LEAVE = b"leave"
COORDINATE = b"coordinate: "
"""Of old versions of Serf."""
COMMENT = b"#"

_ADDRESS = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")
_NUMBER = re.compile(rb"0*([0-9]{1,20})")

V = TypeVar("V")


@dataclass(slots=True)
class Restored:
    """What a snapshot says. The clocks are the last Lamport times seen, 0 for none; each is to be witnessed,
    and what is no later is not to be taken again. `complaints` are sentences for the log."""

    alive: Mapping[str, Address] = field(default_factory=dict)
    """Who was there when it was written last, ourselves included; whoever came longest ago first."""
    failed: Mapping[str, Address] = field(default_factory=dict)
    """Who had failed, whoever failed longest ago first."""
    clock: int = 0
    event_clock: int = 0
    query_clock: int = 0
    complaints: list[str] = field(default_factory=list)
    torn_size: int = 0
    """Bytes of a last line without an end, which was not taken. They must go before anything is appended."""
    overruled_leave: bool = False
    """Whether we had left, which does not count as we rejoin. The line must go, or it counts some other time."""


class _Listed(Generic[V]):
    """Something for each name, in the order of arrival; the oldest go when there are too many."""

    def __init__(self) -> None:
        self.entries: dict[str, V] = {}
        self.cost = 0
        """Bytes that the lines take at most."""

    def put(self, name: str, entry: V) -> None:
        self.pop(name)
        self.entries[name] = entry
        self.cost += LINE_COST + text_size(name)
        while self.cost > LISTED_BYTES_MAX:
            self.pop(next(iter(self.entries)))

    def pop(self, name: str) -> bool:
        """Drop a name; whether it was listed."""
        if self.entries.pop(name, None) is None:
            return False
        self.cost -= LINE_COST + text_size(name)
        return True

    def clear(self) -> None:
        self.entries.clear()
        self.cost = 0


class _Bad(ValueError):
    """A line that says nothing; the text is why."""


class _Replay:
    """The state after the lines so far."""

    def __init__(self, rejoin_after_leave: bool) -> None:
        self._rejoins = rejoin_after_leave
        self._alive: _Listed[Address] = _Listed()
        self._failed: _Listed[Address] = _Listed()
        self._clocks = dict.fromkeys((CLOCK, EVENT_CLOCK, QUERY_CLOCK), 0)
        self._complaints: list[str] = []
        self._bad_count = 0
        self._line_count = 0
        self._overruled_leave = False
        self._skipping = False
        """Whether we are inside a line that is too long."""

    def run(self, chunks: Iterable[bytes]) -> Restored:
        rest, torn_size = b"", 0
        for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._line(line)
            torn_size = len(rest) if lines else torn_size + len(chunk)
            if len(rest) > LINE_MAX:
                self._skipping = True
                rest = b""
        if torn_size:
            self._complaints.append("the last line has no end, as after a crash; it is left out")
        if self._bad_count > COMPLAINTS_MAX:
            self._complaints.append(f"{self._bad_count - COMPLAINTS_MAX} more lines are left out")
        return Restored(
            self._alive.entries,
            self._failed.entries,
            clock=self._clocks[CLOCK],
            event_clock=self._clocks[EVENT_CLOCK],
            query_clock=self._clocks[QUERY_CLOCK],
            complaints=self._complaints,
            torn_size=torn_size,
            overruled_leave=self._overruled_leave,
        )

    def _line(self, line: bytes) -> None:
        self._line_count += 1
        try:
            if self._skipping or len(line) > LINE_MAX:
                self._skipping = False
                raise _Bad(f"longer than {LINE_MAX} bytes")
            self._take(line)
        except _Bad as fault:
            self._bad_count += 1
            if self._bad_count <= COMPLAINTS_MAX:
                quoted = repr(line[:QUOTED_MAX])[1:] + ("…" if len(line) > QUOTED_MAX else "")
                self._complaints.append(f"line {self._line_count} is left out, {fault}: {quoted}")

    def _take(self, line: bytes) -> None:
        kind, blank, rest = line.partition(b" ")
        kind += blank
        if kind == ALIVE:
            name, address = _member_of(rest)
            self._failed.pop(name)
            self._alive.put(name, address)
        elif kind == NOT_ALIVE:
            name = _text(rest)
            self._alive.pop(name)
            self._failed.pop(name)
        elif kind in self._clocks:
            self._clocks[kind] = _number_of(rest)
        elif line.startswith(FAILED):
            name, address = _member_of(line.removeprefix(FAILED))
            self._alive.pop(name)
            self._failed.put(name, address)
        elif line == LEAVE:
            self._leave()
        elif not line.startswith((COMMENT, COORDINATE)):
            raise _Bad("not a line of a snapshot")

    def _leave(self) -> None:
        if self._rejoins:
            self._overruled_leave = True
            return
        self._alive.clear()
        self._failed.clear()
        self._clocks = dict.fromkeys(self._clocks, 0)


def replay(chunks: Iterable[bytes], *, rejoin_after_leave: bool) -> Restored:
    """What a snapshot says. `chunks` are its bytes in pieces of any size; of each only a line is kept.

    Never raises, whatever the bytes: a line that cannot be read is left out, with a complaint. After a line
    `leave` nobody is known and the clocks are 0, except with `rejoin_after_leave`.
    """
    return _Replay(rejoin_after_leave).run(chunks)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _member_of(rest: bytes) -> tuple[str, Address]:
    name, blank, where = rest.rpartition(b" ")
    found = _ADDRESS.fullmatch(where)
    if not blank or found is None:
        raise _Bad("no address")
    host, port = (found[1] or found[2]).decode(), int(found[3])
    try:
        address = Address.parse(host, port)
    except ValueError:
        raise _Bad("no address") from None
    if not 0 < port < 65_536:
        raise _Bad("no address")
    return _text(name), address


def _number_of(rest: bytes) -> int:
    found = _NUMBER.fullmatch(rest)
    if found is None or int(found[1]) > LTIME_MAX:
        raise _Bad("no number of 64 bits")
    return int(found[1])


class Recorder:
    """Turns what happens into lines, and keeps what a fresh file must say.

    Every method answers with the lines to append, often none. Begins where a snapshot left off.
    """

    def __init__(self, restored: Restored | None = None) -> None:
        begin = restored or Restored()
        self._alive: _Listed[bytes] = _Listed()
        self._failed: _Listed[bytes] = _Listed()
        for name, address in begin.alive.items():
            self._alive.put(name, _line(ALIVE, name, address))
        for name, address in begin.failed.items():
            self._failed.put(name, _line(FAILED, name, address))
        self._clock = begin.clock
        self._event_clock = begin.event_clock
        self._query_clock = begin.query_clock
        self._clock_at_leave: int | None = None

    @property
    def left(self) -> bool:
        """Whether we left; from then on only the clock is recorded."""
        return self._clock_at_leave is not None

    @property
    def size_max(self) -> int:
        """Bytes that the file may have before it should be compacted. Twice what a fresh one has, at least."""
        count = len(self._alive.entries) + len(self._failed.entries)
        return max(COMPACT_SIZE_MIN, COMPACT_BYTES_PER_MEMBER * count, 2 * (self._alive.cost + self._failed.cost))

    def record(self, event: object, member_time: int) -> bytes:
        """An event of Serf's happened; `member_time` is what the member clock shows."""
        if self.left:
            return b""
        if isinstance(event, MemberEvent):
            return self._member(event) + self._clock_line(member_time)
        if isinstance(event, UserEventReceived):
            return self._event_line(event.event.ltime)
        if isinstance(event, QueryReceived):
            return self._query_line(event.query.ltime)
        if isinstance(event, GivenUp):
            return self._forget(event.name)
        return b""

    def advance(self, member_time: int, event_time: int, query_time: int) -> bytes:
        """What the three clocks show now. A clock is one ahead of the last time that it saw."""
        lines = self._clock_line(member_time)
        if not self.left:
            lines += self._event_line(event_time - 1) + self._query_line(query_time - 1)
        return lines

    def leave(self) -> bytes:
        """We leave on purpose."""
        if self.left:
            return b""
        self._clock_at_leave = self._clock
        return LEAVE + b"\n"

    def content(self) -> bytes:
        """A fresh file that says the same."""
        clock = self._clock if self._clock_at_leave is None else self._clock_at_leave
        lines = [
            *self._alive.entries.values(),
            *self._failed.entries.values(),
            _clock(CLOCK, clock),
            _clock(EVENT_CLOCK, self._event_clock),
            _clock(QUERY_CLOCK, self._query_clock),
        ]
        if self.left:
            lines.append(LEAVE + b"\n")
            if self._clock > clock:
                lines.append(_clock(CLOCK, self._clock))
        return b"".join(lines)

    def _member(self, event: MemberEvent) -> bytes:
        name, address, change = event.member.name, event.member.address, event.change
        if "\n" in name or change is MemberChange.UPDATE:
            return b""
        if change is MemberChange.REAP:
            return self._forget(name)
        reachable = bool(address.host) and 0 < address.port < 65_536
        self._alive.pop(name)
        self._failed.pop(name)
        if change is MemberChange.JOIN and reachable:
            alive = _line(ALIVE, name, address)
            self._alive.put(name, alive)
            return alive
        gone = NOT_ALIVE + _raw(name) + b"\n"
        if change is MemberChange.FAILED and reachable:
            failed = _line(FAILED, name, address)
            self._failed.put(name, failed)
            return gone + failed
        return gone

    def _forget(self, name: str) -> bytes:
        """A member is not to be looked for any more."""
        known = self._alive.pop(name) or self._failed.pop(name)
        return NOT_ALIVE + _raw(name) + b"\n" if known else b""

    def _clock_line(self, time: int) -> bytes:
        if time - 1 <= self._clock:
            return b""
        self._clock = time - 1
        return _clock(CLOCK, self._clock)

    def _event_line(self, ltime: int) -> bytes:
        if ltime <= self._event_clock:
            return b""
        self._event_clock = ltime
        return _clock(EVENT_CLOCK, ltime)

    def _query_line(self, ltime: int) -> bytes:
        if ltime <= self._query_clock:
            return b""
        self._query_clock = ltime
        return _clock(QUERY_CLOCK, ltime)


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _line(kind: bytes, name: str, address: Address) -> bytes:
    return kind + _raw(name) + f" {address}\n".encode()


def _clock(kind: bytes, ltime: int) -> bytes:
    return kind + b"%d\n" % ltime
