"""What Nomad's endpoints ask of an agent, and what other servers answer, both as the test has it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from moot.agent.keys import ask_repeatedly
from moot.agent.nomad.servers import parse_server
from moot.gossip.counters import Counters
from moot.gossip.serf.keys import KeyReport
from moot.http.backend import BackendError
from moot.http.nomad_operations import ApiSettings, Figures, KeyringOperation, LogLevel
from moot.http.remote import NodeAnswer
from moot.http.schema import DiskAnswer, HostAnswer, MemberAnswer, MembersAnswer
from tests.api.scripted_pool import ScriptedKeys

NODE_ID = "fb2170a8-257d-3c64-b14d-bc06cc94e34c"
LEVELS = ("trace", "debug", "info", "warn", "error", "off")


@dataclass
class Follower:
    """Somebody who follows the scripted log."""

    sink: Callable[[str], None]
    level: LogLevel
    as_json: bool
    located: bool


@dataclass
class ScriptedNomad:
    """An agent of which the test writes the log and says what it measures."""

    keys: ScriptedKeys
    settings: ApiSettings = field(default_factory=ApiSettings)
    node_id: str = NODE_ID
    counters: Counters = field(default_factory=Counters)
    reload_error: str = ""
    reload_count: int = 0
    followers: list[Follower] = field(default_factory=list)
    told: tuple[str, str] = ("", "")
    """Level and text of a line that every follower gets at once."""

    async def keyring(self, operation: KeyringOperation, key: bytes) -> KeyReport:
        return await ask_repeatedly(self.keys, operation, key)

    async def reload(self) -> None:
        self.reload_count += 1
        if self.reload_error:
            raise BackendError(self.reload_error)

    async def host(self) -> HostAnswer:
        return HostAnswer(
            os="Linux s1 6.1.0 x86_64",
            network=[{"address": "127.0.0.1", "name": "lo"}],
            resolv_conf="nameserver 127.0.0.1\n",
            hosts="127.0.0.1 localhost\n",
            environment={"HOME": "/root", "MOOT_TOKEN": "<redacted>"},
            disk={"/": DiskAnswer(disk_mb=1000, used_mb=10)},
        )

    def follow_log(
        self, sink: Callable[[str], None], *, level: LogLevel, as_json: bool, located: bool
    ) -> Callable[[], None]:
        follower = Follower(sink, level, as_json, located)
        self.followers.append(follower)
        if self.told[1]:
            self.log(*self.told)
        return lambda: self.followers.remove(follower)

    def log(self, level: str, line: str) -> None:
        """Write a line of the log."""
        for follower in self.followers:
            if LEVELS.index(level) >= LEVELS.index(follower.level):
                follower.sink(line)

    def figures(self) -> Figures:
        return Figures(
            counters=self.counters,
            version="0.1.0",
            queues={"intent": 0, "event": 2, "query": 0},
            tasks=7,
            client_nodes={"ready": 3},
        )


@dataclass
class ScriptedRemote:
    """Servers that answer by RPC: those of this agent's region, or of others, by region to their leader."""

    members_answer: MembersAnswer | None = None
    leaders: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    node_answers: Sequence[NodeAnswer] = ()
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def _hear(self, *question: object) -> None:
        self.asked.append(question)
        if self.failure:
            raise BackendError(self.failure)

    async def members(self) -> MembersAnswer:
        self._hear("members")
        assert self.members_answer is not None
        return self.members_answer

    async def leader(self, region: str, *, stale: bool) -> str:
        self._hear("leader", region, stale)
        if region not in self.leaders:
            raise BackendError("No path to region")
        return self.leaders[region]

    async def peers(self, region: str, *, stale: bool) -> list[str]:
        self._hear("peers", region, stale)
        return [await self.leader(region, stale=stale)]

    async def regions(self) -> list[str]:
        self._hear("regions")
        return sorted(self.leaders)

    async def nodes(self, region: str) -> Sequence[NodeAnswer]:
        self._hear("nodes", region)
        return self.node_answers


def answer_of(name: str, members: Sequence[MemberAnswer]) -> MembersAnswer:
    """What the server of that name says of its pool."""
    return MembersAnswer(members=list(members), server_dc="dc1", server_name=name, server_region="global")


@dataclass
class ScriptedClientRole:
    """A list of servers of which those in `dead` do not answer a ping, and those in `unknown` have no address."""

    addresses: list[str] = field(default_factory=list)
    dead: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset({"nope.invalid"})

    def known_servers(self) -> Sequence[str]:
        return self.addresses

    async def set_servers(self, addresses: Sequence[str]) -> Sequence[str]:
        good, errors = [], []
        for text in addresses:
            try:
                host, port = parse_server(text)
            except ValueError as error:
                errors.append(str(error))
                continue
            address = f"{host}:{port}"
            if host in self.unknown:
                errors.append(f"lookup {host}: no such host")
            elif address in self.dead:
                cause = f"dial tcp {address}: connect: connection refused"
                errors.append(f"Server at address {address} failed ping: {cause}")
            else:
                good.append(address)
        if good:
            self.addresses = good
        return errors
