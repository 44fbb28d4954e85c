"""NomadBackend: what Nomad's endpoints need of an agent besides its members."""

from collections.abc import Awaitable, Callable, Mapping

import trio

from moot import __version__
from moot.agent.host import HostFacts
from moot.agent.keys import ask_repeatedly
from moot.agent.logs import Logs
from moot.agent.machine import Machine
from moot.gossip.counters import Counters
from moot.gossip.errors import ConfigError
from moot.gossip.net.node import Node
from moot.gossip.serf.keys import KeyReport
from moot.http.backend import BackendError
from moot.http.counters import RpcCounters
from moot.http.nomad_operations import ApiSettings, Figures, KeyringOperation, LogLevel
from moot.http.schema import HostAnswer


class NomadBackend:
    """`node` is None on an agent that is not in the pool. `reload` raises ConfigError.

    `settings` and `client_nodes`, which counts the client nodes registered here by status, may be replaced at any
    time.
    """

    def __init__(
        self,
        node: Node | None,
        logs: Logs,
        *,
        node_id: str,
        settings: ApiSettings,
        reload: Callable[[], Awaitable[None]],
    ) -> None:
        self.settings = settings
        self.node_id = node_id
        self.client_nodes: Callable[[], Mapping[str, int]] = dict
        self.rpc_counters = RpcCounters()
        """Of the RPC port; whoever serves it puts its own here, as with the next."""
        self.ipc_counters = RpcCounters()
        self._machine: Machine | None = None
        self._node = node
        self._logs = logs
        self._reload = reload
        self._facts = HostFacts()
        self._no_counters = Counters()
        self._turn = trio.Lock()

    def publish_machine(self, wanted: bool) -> None:
        """Whether figures of the machine are among ours."""
        if wanted != (self._machine is not None):
            self._machine = Machine() if wanted else None

    async def keyring(self, operation: KeyringOperation, key: bytes) -> KeyReport:
        assert self._node is not None, "the route asks for the server role"
        async with self._turn:
            return await ask_repeatedly(self._node, operation, key)

    async def reload(self) -> None:
        try:
            await self._reload()
        except ConfigError as error:
            raise BackendError(str(error)) from error

    async def host(self) -> HostAnswer:
        return await self._facts.collect()

    def follow_log(
        self, sink: Callable[[str], None], *, level: LogLevel, as_json: bool, located: bool
    ) -> Callable[[], None]:
        return self._logs.follow(sink, level=level, as_json=as_json, located=located)

    def figures(self) -> Figures:
        node = self._node
        stats = {} if node is None else node.stats()
        return Figures(
            counters=self._no_counters if node is None else node.counters,
            version=__version__,
            health_score=int(stats.get("health_score", "0")),
            queues={"claim": 0 if node is None else node.serf.swim.broadcasts_queued}
            | {name: int(stats.get(f"{name}_queue", "0")) for name in ("intent", "event", "query")},
            clocks={name: int(stats.get(f"{name}_time", "0")) for name in ("member", "event", "query")},
            rpc=self.rpc_counters,
            ipc=self.ipc_counters,
            log_lines=self._logs.written,
            machine=self._machine() if self._machine is not None else {},
            tasks=trio.lowlevel.current_statistics().tasks_living,
            client_nodes=self.client_nodes(),
        )
