"""Deeds: what whoever runs a simulated pool does to its members: start, kill, stop them, and give them commands."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from moot.gossip.actions import (
    Action,
    AskQuery,
    Flood,
    ForceLeave,
    Join,
    Keys,
    Process,
    SendEvent,
)
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.keywords import key_of
from moot.gossip.record import Ticket
from moot.gossip.selectors import TWIN, select
from moot.gossip.serf.asking import Question
from moot.gossip.serf.events import CommandDone, JoinDone, KeysDone
from moot.gossip.sim import flood
from moot.gossip.sim.cluster import SimCluster
from moot.gossip.sim.history import Command, EventSent
from moot.gossip.sim.player import SEEDS_MAX, doer, target
from moot.gossip.sim.recorder import Recorder
from moot.gossip.sim.scenario import ClusterSpec

Named: TypeAlias = tuple[str, int, int]
"""A command: its agent, which of the agent's lives, and its ticket."""
RETRY_JOIN = 5.0
"""A member that nobody let in tries again after so many seconds, as agents do."""


@dataclass(slots=True)
class _Pending:
    """A command under way: its words, who does it, since when."""

    words: str
    agent: str
    began: float
    ticket: Ticket
    boot: int
    """Which of the agent's lives that is: each counts its tickets anew."""
    leaves: bool = False
    joins: tuple[str, ...] = ()
    """Whom it joins again when nobody lets it in."""
    quiet: bool = False
    """Whether it is none that anybody gave."""


@dataclass(slots=True)
class _Start:
    """A start that is to come."""

    at: float
    agent: str
    via: tuple[str, ...]


class Deeds:
    """Carries out what is no matter of conditions. `settle` is to be called as time passes."""

    def __init__(self, cluster: SimCluster, recorder: Recorder, spec: ClusterSpec, seed: int) -> None:
        self._cluster = cluster
        self._recorder = recorder
        self._spec = spec
        self.agents = list(cluster.names)
        """All agents, those that bear another's name last."""
        self.pending: list[_Pending] = []
        self.starting: list[_Start] = []
        self.losers: list[str] = []
        """Agents that the pool has voted down; they end."""
        self.flood = flood.Flood(cluster, seed)
        self._stopped: dict[str, None] = {}
        self._labels: dict[str, str] = {}
        self._members: dict[str, str] = {}
        self._keys: dict[str, list[bytes]] = {}
        """What was in the keyring files of those that ended."""

    @property
    def busy(self) -> bool:
        """Whether anything is to be looked at often."""
        return bool(self.pending or self.starting or self.losers or self.flood.victims)

    def label(self, name: str, label: str) -> None:
        """Give an agent the label of its packets."""
        self._labels[name] = label

    def start_later(self, name: str, via: Sequence[str], after: float) -> None:
        """Let an agent start in so many seconds, through others."""
        self.starting.append(_Start(self._cluster.now + after, name, tuple(via)))

    def after_conditions(self, calm: bool) -> None:
        """The conditions have changed; with `calm` everything that lasts ends."""
        if calm:
            self.flood.victims = []
            for name in [name for name in self._stopped if name in self._cluster.hosts]:
                self._cluster.resume(name)
                self._life(name, "continued")
            self._stopped.clear()
        self._tell_conditions()

    def do(self, action: Action) -> None:
        """Carry out an action. Raises GossipError when it cannot be."""
        match action:
            case Process(verb, members, via, fresh):
                for name in select(members, self.agents):
                    self._process(verb, name, via, fresh)
                self._record(str(action))
            case Join(members, targets):
                for name in select(members, self.agents):
                    others = [other for other in select(targets, self.agents) if other != name]
                    self._pend(str(action), name, self._cluster.join(self._running(name), others))
            case ForceLeave(member, prune, by):
                agent = self._by(by)
                gone = target(member, self.agents)
                words = str(ForceLeave(gone, prune, agent))
                serf, now = self._cluster.serf(agent), self._cluster.hosts[agent].now
                self._pend(words, agent, serf.force_leave(now, gone, prune))
            case SendEvent(name, payload, by):
                agent = self._by(by)
                self._recorder.history.add(EventSent(self._cluster.now, agent, name, payload))
                self._cluster.serf(agent).user_event(self._cluster.hosts[agent].now, name, payload.encode())
                self._record(str(action), agent)
            case AskQuery(name, by):
                agent = self._by(by)
                self._pend(str(action), agent, self._cluster.query(agent, Question(name)))
            case Keys(operation, word, by):
                agent = self._by(by)
                key = key_of(word) if word else b""
                now = self._cluster.hosts[agent].now
                self._pend(str(action), agent, self._cluster.serf(agent).keys(now, operation, key))
            case Flood(members, on):
                self._flood(select(members, self.agents), on)
            case _:
                raise ConfigError(f"the simulator cannot do {action}")

    def settle(self, ends: Mapping[Named, Any], answers: Mapping[Named, int]) -> None:
        """Look after what is under way: commands that ended, starts that are due, agents that were voted down."""
        now = self._cluster.now
        due = [start for start in self.starting if start.at <= now]
        self.starting = [start for start in self.starting if start.at > now]
        for start in due:
            if start.agent not in self._cluster.hosts:
                self._start(start.agent, start.via)
            else:
                with suppress(CommandError):  # it leaves, and needs nobody any more
                    self._join_through(start.agent, start.via)
        for agent in self.losers:
            if agent in self._cluster.hosts:
                self._end(agent, "ended")
        self.losers.clear()
        under_way, self.pending = self.pending, []
        for command in under_way:
            named = (command.agent, command.boot, command.ticket)
            lives = command.agent in self._cluster.hosts and command.boot == self._cluster.boots(command.agent)
            end = ends.get(named)
            if end is not None:
                self._ended(command, end, answers.get(named, 0), lives=lives)
            elif lives:
                self.pending.append(command)
            elif not command.quiet:
                self._record(command.words, command.agent, command.began, "the agent ended before the command did")

    # processes

    def _process(self, verb: str, name: str, via: str, fresh: bool) -> None:
        cluster = self._cluster
        if verb == "start" or (verb in ("restart", "move") and name not in cluster.hosts):
            if name in cluster.hosts:
                raise CommandError(f"{name} runs already")
            self._begin(name, via, fresh, moved=verb == "move")
        elif verb == "twin":
            self._twin(name, via)
        elif verb in ("restart", "move"):
            self._end(name, "killed")
            self._begin(name, via, fresh, moved=verb == "move")
        elif verb == "kill":
            self._end(self._running(name), "killed")
        elif verb == "leave":
            host = cluster.hosts[self._running(name)]
            self._life(name, "leaving")
            ticket = cluster.serf(name).leave(host.now)
            self.pending.append(
                _Pending(f"leave {name}", name, cluster.now, ticket, cluster.boots(name), leaves=True)
            )
        elif verb == "stop":
            cluster.pause(self._running(name))
            self._stopped[name] = None
            self._life(name, "stopped")
        elif name in self._stopped:
            del self._stopped[name]
            if name in cluster.hosts:
                cluster.resume(name)
                self._life(name, "continued")

    def _begin(self, name: str, via: str, fresh: bool, *, moved: bool) -> None:
        if moved:
            self._cluster.place(name)
        if fresh and name in self._cluster.disks:
            self._cluster.disks[name].wipe()
        has_snapshot = name in self._cluster.disks and bool(self._cluster.disks[name].content)
        others = [other for other in self._cluster.names if other in self._cluster.hosts and other != name]
        same = [other for other in others if self._labels.get(other) == self._labels.get(name)]
        targets = select(via, self.agents) if via else ([] if has_snapshot else same[:SEEDS_MAX])
        self._start(name, [target for target in targets if target != name])

    def _twin(self, name: str, via: str) -> None:
        taken = sum(agent.startswith(name + TWIN) for agent in self.agents)
        twin = f"{name}{TWIN}{taken + 2}"
        self.agents.append(twin)
        self._members[twin] = name
        self._cluster.place(twin)
        self._begin(twin, via, True, moved=False)

    def _start(self, name: str, via: Sequence[str]) -> None:
        cluster = self._cluster
        member = self._members.get(name, "")
        cluster.conditions.resume(name)
        self._life(name, "started", member, str(cluster.address(name)))
        cluster.start(name, keys=self._keys.get(name), member=member, label=self._labels.get(name, ""))
        if via:
            self._join_through(name, tuple(via))

    def _join_through(self, name: str, via: tuple[str, ...]) -> None:
        ticket = self._cluster.join(name, via)
        boot = self._cluster.boots(name)
        self.pending.append(_Pending("join", name, self._cluster.now, ticket, boot, joins=via, quiet=True))

    def _end(self, name: str, how: str) -> None:
        host = self._cluster.hosts.get(name)
        if host is None:
            raise CommandError(f"{name} does not run")
        if host.keyring is not None:
            self._keys[name] = list(host.keyring.keys)
        self._stopped.pop(name, None)
        self._cluster.conditions.resume(name)
        self._cluster.crash(name)
        self._life(name, how)

    def _life(self, name: str, what: str, member: str = "", address: str = "") -> None:
        self._recorder.life(self._cluster.now, name, what, member or self._members.get(name, ""), address)

    # the rest

    def _ended(self, command: _Pending, end: object, answers: int, *, lives: bool) -> None:
        error, result = "", ""
        if isinstance(end, CommandDone):
            error = end.error or ""
        elif isinstance(end, KeysDone):
            error = end.report.error
        elif isinstance(end, JoinDone):
            failed = [reason for _, reason in end.results if reason is not None]
            joined = len(end.results) - len(failed)
            error = failed[0] if failed and not joined else ""
            result = f"joined {joined} of {len(end.results)}"
        else:
            result = f"{answers} answers"
        if command.leaves and lives:
            if command.agent in self._cluster.disks:
                self._cluster.disks[command.agent].leave()
            self._end(command.agent, "left")
        if command.joins and error and lives:
            self.starting.append(_Start(self._cluster.now + RETRY_JOIN, command.agent, command.joins))
        if not command.quiet:
            self._record(command.words, command.agent, command.began, error, result)

    def _record(
        self, words: str, agent: str = "", began: float | None = None, error: str = "", result: str = ""
    ) -> None:
        now = self._cluster.now
        seconds = 0.0 if began is None else now - began
        self._recorder.history.add(Command(now, words, agent, seconds, error, result))

    def _pend(self, words: str, agent: str, ticket: Ticket) -> None:
        self.pending.append(_Pending(words, agent, self._cluster.now, ticket, self._cluster.boots(agent)))

    def _flood(self, victims: Sequence[str], on: bool) -> None:
        was = self.flood.victims
        self.flood.victims = [
            name
            for name in self.agents
            if (name in was or name in victims if on else name in was and name not in victims)
        ]
        self._tell_conditions()

    def _tell_conditions(self) -> None:
        flooded = [str(Flood(name)) for name in self.flood.victims]
        self._recorder.conditions(self._cluster.now, self._cluster.conditions, flooded)

    def _running(self, name: str) -> str:
        if name not in self._cluster.hosts:
            raise CommandError(f"{name} does not run")
        return name

    def _by(self, by: str) -> str:
        return doer(by, self.agents, lambda name: name in self._cluster.hosts and name not in self._stopped)
