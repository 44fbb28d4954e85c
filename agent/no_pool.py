"""NoPool: the pool side of an agent that is a client only, and in no pool."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

import trio

from moot.agent.key_table import KEYS
from moot.agent.settings import Settings
from moot.gossip.counters import Counters
from moot.gossip.serf.members import SerfMember
from moot.http.backend import BackendError, JoinAttempt
from moot.http.counters import RpcCounters

POOL_KEYS: Final = (
    *("server.encrypt", "server.rejoin_after_leave", "server.start_join", "server.retry_join"),
    *("moot.tags", "moot.label", "moot.ipc_addr", "moot.snapshot", "moot.keyring_file", "moot.event_handlers"),
    *("moot.discover", "moot.replay"),
)
"""What has no effect out of the pool, and is said so."""


class NoPool:
    """Implements `pool_side.PoolSide`: nobody is there, nothing is to be done."""

    node: Final = None
    members_version: Final = 0
    gossip_address: Final = ""
    encrypted: Final = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.counters = Counters()
        self.ipc_counters = RpcCounters()

    @property
    def operations(self) -> NoReturn:
        raise _refusal()

    @property
    def gossip_port(self) -> int:
        return self._settings.bind["serf"].port

    def members(self) -> Sequence[SerfMember]:
        return ()

    def self_member(self) -> SerfMember | None:
        return None

    async def join(self, addresses: Sequence[str]) -> Sequence[JoinAttempt]:
        raise _refusal()

    async def force_leave(self, name: str, prune: bool) -> None:
        raise _refusal()

    def stats(self) -> Mapping[str, Mapping[str, str]]:
        return {}

    async def prepare(self, nursery: trio.Nursery) -> None:
        pass

    async def start(self, nursery: trio.Nursery) -> None:
        pass

    async def serve(self, nursery: trio.Nursery) -> None:
        pass

    def tell(self, hear: Callable[[object], None]) -> None:
        pass

    async def enter(self, nursery: trio.Nursery) -> None:
        pass

    async def keep_joining(self) -> bool:
        return True

    async def change_tags(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        pass

    def reload(self, settings: Settings) -> None:
        pass

    async def leave(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def last_words(self) -> None:
        pass

    def facts(self) -> Mapping[str, str]:
        return {"Gossip": "none, a client is in no pool"}

    def addresses(self) -> Mapping[str, str]:
        return {}

    def kept(self) -> Mapping[str, str]:
        return {}

    def warnings(self) -> Sequence[str]:
        values = self._settings.values
        idle = [key for key in POOL_KEYS if values[key] != KEYS[key].default]
        return [f"an agent that is a client only is in no pool; without effect: {', '.join(idle)}"] if idle else []


def _refusal() -> BackendError:
    return BackendError("this agent is a client only, and in no pool; ask one of its servers")
