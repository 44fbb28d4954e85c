"""Golden scripts: a scenario in words, and under each step what came of it.

A script is a text of blocks. A block is some commands, a line `---`, and the lines that the core's effects
gave. `pytest --rewrite` writes the latter anew; a review reads the difference.

    members NAME…              members become known as alive with incarnation 1
    hear MESSAGE               a packet with `alive b=2`, `suspect b=1 by c`, `dead b=1 by b`, `ack`, `nack`
    sync NAME=INC:STATUS …     a peer's push/pull with these entries
    run SECONDS                time passes
    leave | meta TEXT          commands to the core
    show                       print the table
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from moot.gossip.config import LAN
from moot.gossip.record import Address
from moot.gossip.swim import Status
from moot.gossip.swim.events import (
    MemberForgotten,
    MemberGone,
    MemberJoined,
    MemberSuspected,
    MemberUpdated,
    NameConflict,
    ProbeFailed,
    Refuted,
    SpreadFinished,
    StreamPingOnly,
    SuspicionExpired,
    SuspicionLifted,
)
from moot.gossip.swim.member import Member
from moot.gossip.swim.messages import Ack, Alive, Dead, IndirectPing, Nack, PacketMessage, Ping, PushPull, Suspect
from tests.support.swim import Desk, Opened, Sent, address

SEPARATOR = "---"


class Runs(Protocol):
    """A script of one layer: made without arguments, it runs command after command."""

    def run(self, command: str) -> list[str]: ...


class Script:
    """Runs one script against a Swim named `me`; the probe timer's phase and all picks come from seed 1."""

    def __init__(self) -> None:
        self._desk = Desk(config=replace(LAN, push_pull_interval=3600.0))
        self._names: dict[Address, str] = {address(1): "me"}
        self._last_seq = 0
        self._commands: dict[str, Callable[[list[str]], None]] = {
            "members": self._members,
            "hear": self._hear,
            "sync": self._sync,
            "run": lambda words: self._desk.run(float(words[0])),
            "leave": lambda _: self._ignore(self._desk.swim.leave(self._desk.out.now, 5.0)),
            "meta": lambda words: self._ignore(self._desk.swim.set_meta(self._desk.out.now, words[0].encode(), 5.0)),
            "show": self._show,
        }
        self._lines: list[str] = []
        self._health = 0
        self._take()
        self._lines.clear()

    def run(self, command: str) -> list[str]:
        """One command; the lines its effects gave."""
        verb, *words = command.split()
        self._commands[verb](words)
        self._take()
        lines, self._lines = self._lines, []
        return lines

    def _members(self, names: list[str]) -> None:
        for name in names:
            self._desk.hear(Alive(self._member(name, 1)))

    def _member(self, name: str, inc: int, status: Status = Status.ALIVE) -> Member:
        known = {held: at for at, held in self._names.items()}
        at = known.get(name) or address(len(self._names) + 1)
        self._names[at] = name
        return Member(name, at, inc, status)

    def _hear(self, words: list[str]) -> None:
        self._desk.hear(self._parse(words))

    def _parse(self, words: list[str]) -> PacketMessage:
        kind = words[0]
        if kind == "ack":
            return Ack(self._last_seq)
        if kind == "nack":
            return Nack(self._last_seq)
        name, _, inc = words[1].partition("=")
        if kind == "alive":
            return Alive(self._member(name, int(inc)))
        return (Suspect if kind == "suspect" else Dead)(int(inc), name, words[3])

    def _sync(self, words: list[str]) -> None:
        entries = []
        for word in words:
            name, _, rest = word.partition("=")
            inc, _, status = rest.partition(":")
            entries.append(self._member(name, int(inc), Status[status.upper()]))
        self._desk.request(PushPull(True, entries))

    def _show(self, words: list[str]) -> None:
        for member in sorted(self._desk.swim.members, key=lambda m: m.name):
            self._lines.append(f"{member.name}={member.incarnation} {member.status.name.lower()}")

    def _ignore(self, ticket: object) -> None:
        """Tickets are not shown."""

    def _take(self) -> None:
        out = self._desk.out
        for entry in out.log:
            if isinstance(entry, Sent):
                said = ", ".join(map(self._message, entry.messages))
                self._lines.append(f"sends {self._name(entry.to)}: {said}")
            elif isinstance(entry, Opened):
                self._lines.append(f"dials {self._name(entry.to)}: {type(entry.first).__name__.lower()}")
            else:
                self._lines.append(self._event(entry))
        out.log.clear()
        if self._desk.swim.health_score != self._health:
            self._lines.append(f"health {self._health} → {self._desk.swim.health_score}")
            self._health = self._desk.swim.health_score

    def _name(self, at: Address) -> str:
        return self._names.get(at, str(at))

    def _message(self, message: PacketMessage) -> str:
        match message:
            case Ping(seq=seq, node=node):
                self._last_seq = seq
                return f"ping {node}"
            case IndirectPing(node=node):
                return f"please ping {node}"
            case Alive(member=member):
                return f"alive {member.name}={member.incarnation}"
            case Suspect() | Dead():
                kind = type(message).__name__.lower()
                return f"{kind} {message.node}={message.incarnation} by {message.accuser}"
        return type(message).__name__.lower()

    def _event(self, event: object) -> str:
        match event:
            case MemberJoined(member=member):
                return f"* {member.name} joined"
            case MemberGone(member=member, accuser=accuser):
                return f"* {member.name} is {member.status.name.lower()}, says {accuser}"
            case MemberSuspected(member=member, accuser=accuser):
                return f"* {member.name} is suspected by {accuser}"
            case SuspicionExpired(member=member, confirmed=confirmed):
                return f"* suspicion of {member.name} expires, {confirmed} confirmed it"
            case SuspicionLifted(member=member):
                return f"* {member.name} is cleared"
            case MemberUpdated(member=member):
                return f"* {member.name} has new meta"
            case MemberForgotten(member=member):
                return f"* {member.name} is forgotten"
            case Refuted(incarnation=incarnation, accuser=accuser):
                return f"* we refute {accuser} as me={incarnation}"
            case ProbeFailed(member=member, nacks_expected=expected, nacks_heard=heard):
                return f"* probe of {member.name} failed, {heard} of {expected} nacks"
            case NameConflict(held=held):
                return f"* somebody else claims to be {held.name}"
            case StreamPingOnly(member=member):
                return f"* {member.name} answers by TCP only"
            case SpreadFinished(timed_out=timed_out):
                return "* not all was sent in time" if timed_out else "* the news is out"
        raise AssertionError(event)


def play(text: str, kind: type[Runs]) -> str:
    """The script with its output lines as the core gives them now."""
    script = kind()
    result = []
    for block in text.strip("\n").split("\n\n"):
        commands = block.split(f"\n{SEPARATOR}")[0].splitlines()
        result += commands
        result.append(SEPARATOR)
        for command in commands:
            if not command.startswith("#"):
                result += script.run(command)
        result.append("")
    return "\n".join(result)


def check(path: Path, rewrite: bool, kind: type[Runs] = Script) -> None:
    """Compare a script file with what happens now, or write it anew."""
    held = path.read_text()
    now = play(held, kind)
    if rewrite:
        path.write_text(now)
        return
    assert now == held, f"{path.name} differs; if the change is meant, run pytest --rewrite and review"
