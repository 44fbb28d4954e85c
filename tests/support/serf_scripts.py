"""Golden scripts of Serf: a scenario in words, and under each step what came of it.

As in `scripts`, a block is some commands, a line `---`, and the lines that the effects gave.

    alive NAME=INC …               members announce themselves
    dead NAME | left NAME          somebody declares it dead, or it says that it goes
    hear join NAME LTIME           a join intent by gossip
    hear leave NAME LTIME [prune]  a leave intent by gossip
    hear event LTIME TEXT          a user event by gossip
    sync NAME=LTIME[:left] …       a peer's push/pull with these Lamport times; clock=N is its clock
    force-leave NAME [prune] | leave | join NAME
    answers | refuses              the oldest open stream is answered as its kind demands, or refused
    run SECONDS                    time passes for Serf; Swim stands still
    gossip                         one packet's worth of what waits
    show                           members as NAME STATUS @LTIME, and the clock
"""

from collections.abc import Callable

from moot.gossip.errors import CommandError
from moot.gossip.serf import MemberStatus
from moot.gossip.serf.events import (
    CommandDone,
    JoinDone,
    MemberEvent,
    MemberLeaving,
    UserEventReceived,
)
from moot.gossip.serf.messages import JoinIntent, LeaveIntent, UserEvent
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.messages import Ack, Alive, Ping, PushPull
from tests.support.serf import SerfDesk, push_pull
from tests.support.swim import Opened, member


class Script:
    """Runs one script against a Serf named `me`."""

    def __init__(self) -> None:
        self._desk = SerfDesk()
        self._open: list[Opened] = []
        self._lines: list[str] = []
        self._commands: dict[str, Callable[[list[str]], object]] = {
            "alive": self._alive,
            "dead": lambda words: self._desk.dies(words[0]),
            "left": lambda words: self._desk.goes(words[0]),
            "hear": self._hear,
            "sync": self._sync,
            "force-leave": lambda words: self._desk.serf.force_leave(self._desk.now, words[0], "prune" in words),
            "leave": lambda _: self._desk.serf.leave(self._desk.now),
            "join": lambda words: self._desk.serf.join(self._desk.now, [member(words[0]).address]),
            "answers": self._answers,
            "refuses": self._refuses,
            "run": self._run,
            "gossip": self._gossip,
            "show": self._show,
        }
        self._take()
        self._lines.clear()

    def run(self, command: str) -> list[str]:
        """One command; the lines its effects gave."""
        verb, *words = command.split()
        try:
            self._commands[verb](words)
        except CommandError as error:
            self._lines.append(f"refused: {error}")
        self._take()
        lines, self._lines = self._lines, []
        return lines

    def _alive(self, words: list[str]) -> None:
        for word in words:
            name, _, inc = word.partition("=")
            self._desk.hear(Alive(member(name, int(inc))))

    def _hear(self, words: list[str]) -> None:
        match words:
            case ["join", name, ltime]:
                self._desk.join_intent(name, int(ltime))
            case ["leave", name, ltime, *rest]:
                self._desk.leave_intent(name, int(ltime), bool(rest))
            case ["event", ltime, text]:
                self._desk.event(int(ltime), text)

    def _sync(self, words: list[str]) -> None:
        ltimes: dict[str, int] = {}
        left = []
        for word in words:
            name, _, rest = word.partition("=")
            ltime, _, status = rest.partition(":")
            ltimes[name] = int(ltime)
            if status:
                left.append(name)
        clock = ltimes.pop("clock", 1)
        self._desk.sync(push_pull(ltimes, left=left, ltime=clock))

    def _answers(self, _: list[str]) -> None:
        stream = self._open.pop(0)
        if isinstance(stream.first, Ping):
            self._desk.serf.on_stream_reply(self._desk.now, stream.ticket, Ack(stream.first.seq))
        else:
            self._desk.serf.on_stream_reply(self._desk.now, stream.ticket, PushPull(True, (), push_pull()))

    def _refuses(self, _: list[str]) -> None:
        self._desk.serf.on_stream_failed(self._desk.now, self._open.pop(0).ticket, "refused")

    def _run(self, words: list[str]) -> None:
        self._desk.only_timers(*(kind for kind in Timer if kind >= Timer.SPREAD_TIMEOUT))
        self._desk.run(float(words[0]))

    def _gossip(self, _: list[str]) -> None:
        for body in self._desk.gossip():
            self._lines.append(f"says {self._intent(body)}")

    def _intent(self, body: object) -> str:
        match body:
            case JoinIntent(ltime=ltime, node=node):
                return f"{node} is here @{ltime}"
            case LeaveIntent(ltime=ltime, node=node, prune=prune):
                return f"{node} leaves @{ltime}" + (", forget it" if prune else "")
            case UserEvent(ltime=ltime, name=name):
                return f"event {name} @{ltime}"
        raise AssertionError(body)

    def _show(self, _: list[str]) -> None:
        for held in self._desk.serf.members():
            self._lines.append(f"{held.name} {held.status.value} @{held.ltime}")
        self._lines.append(f"clock {self._desk.clock()}")

    def _take(self) -> None:
        for entry in self._desk.out.log:
            if isinstance(entry, Opened):
                self._open.append(entry)
                who = "somebody" if not isinstance(entry.first, Ping) else entry.first.node
                self._lines.append(f"dials {who}: {type(entry.first).__name__.lower()}")
            elif (line := self._event(entry)) is not None:
                self._lines.append(line)
        self._desk.out.log.clear()

    def _event(self, event: object) -> str | None:
        """A line for each event of Serf's; packets are Swim's matter."""
        match event:
            case MemberEvent(change=change, member=held):
                return f"* {change.value} {held.name}"
            case MemberLeaving(member=held):
                leaving = held.status is MemberStatus.LEAVING
                return f"* {held.name} is about to leave" if leaving else f"* {held.name} stays"
            case UserEventReceived(event=heard):
                return f"* event {heard.name} @{heard.ltime}"
            case CommandDone(error=error):
                return f"* done: {error or 'well'}"
            case JoinDone(results=results):
                return "* joined: " + ", ".join(error or "well" for _, error in results)
        return None
