"""Watch: takes down what the agents of a run see and do, as it comes.

Our agents tell it on their control channels; real serf agents are asked over their RPC a few times a second. All
times are on the machine's one monotonic clock, counted from the beginning of the run.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from moot.agent import control_client
from moot.agent.cluster_start import control_of, keyring_of
from moot.agent.cluster_state import Node
from moot.agent.control_client import ControlError
from moot.agent.rpc.client import RpcClient
from moot.agent.rpc.protocol import Member, UserRecord
from moot.gossip.errors import ConfigError, GossipError
from moot.gossip.net.keyring_file import load_keys
from moot.gossip.record import Address
from moot.gossip.sim.history import EventDelivered, History, Record, Sample, Seen, record_of
from moot.gossip.sim.recorder import Recorder
from moot.http.client import ApiClient, ApiError

START_PATIENCE: Final = 60.0
"""Seconds that an agent may take from its start to its control channel."""
RETRY: Final = 0.05
POLL: Final = 0.2
"""Seconds between two looks at what a real serf agent lists."""
SAMPLE_EVERY: Final = 1.0
HTTP_PATIENCE: Final = 10.0
UNANSWERED: Final = -2.0
THREADS: Final = 8


@dataclass(slots=True, eq=False)
class Life:
    """One life of an agent, from its start to the end of its process."""

    node: Node
    view: dict[str, str] = field(default_factory=dict)
    """What it sees now: the status of each member that it lists."""
    told: bool = False
    """Whether it has said anything yet."""
    over: bool = False
    leaving: bool = False
    stopped: bool = False
    changes: int = 0
    """How often it was stopped, continued, or told to go."""
    answered: bool = False
    """Whether its HTTP API has ever answered."""
    asking: bool = False


class Watch:
    """`began` is the beginning of the run, on the monotonic clock. A context, for its threads."""

    def __init__(self, directory: Path, began: float) -> None:
        self._directory = directory
        self._began = began
        self._records: list[Record] = []
        self._names: dict[str, str] = {}
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="lab-http")
        self.lives: dict[str, Life] = {}
        """The last life of each agent."""

    def __enter__(self) -> "Watch":
        self._thread(self._sample_http)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._pool.shutdown(cancel_futures=True)

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    @property
    def records(self) -> list[Record]:
        """All that was taken down so far."""
        return list(self._records)

    def add(self, record: Record) -> None:
        """Take down what the runner itself knows, from any thread."""
        self._records.append(record)

    def follow(self, node: Node) -> Life:
        """An agent has been started; hear what it says from now on."""
        before = self.lives.get(node.name)
        if before is not None:
            before.over = True
        life = self.lives[node.name] = Life(node)
        self._names.setdefault(node.member, node.name)
        if node.kind == "serf":
            self._thread(self._follow_serf, life)
            self._thread(self._hear_serf, life)
        else:
            self._thread(self._follow_ours, life)
        return life

    def _thread(self, run: Callable[..., None], *args: object) -> None:
        threading.Thread(target=run, args=args, name="lab-watch", daemon=True).start()

    # our agents

    def _follow_ours(self, life: Life) -> None:
        with suppress(ControlError):  # it has ended, which whoever runs it sees
            for line in self._lines(life):
                self._take(life, record_of(line))

    def _lines(self, life: Life) -> Iterator[str]:
        path = control_of(self._directory, life.node.name)
        deadline = time.monotonic() + START_PATIENCE
        while not life.over and not self._over.is_set():
            try:
                with control_client.history(path, START_PATIENCE) as lines:
                    yield from lines
                return
            except ControlError as error:
                # it may be about to start, and have left the socket of its former life
                nobody = isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError)
                if life.told or not nobody or time.monotonic() > deadline or not life.node.process.alive():
                    raise
            self._over.wait(RETRY)

    def _take(self, life: Life, record: Record) -> None:
        """A record as an agent wrote it: its clock is the machine's, its names are those in the pool."""
        record = replace(record, at=record.at - self._began)
        if isinstance(record, Seen):
            record = replace(record, subject=self._name(record.subject), accuser=self._name(record.accuser))
            self._see(life, record)
        else:
            life.told = True
            self._records.append(record)

    def _see(self, life: Life, seen: Seen) -> None:
        if seen.status == "none":
            life.view.pop(seen.subject, None)
        else:
            life.view[seen.subject] = seen.status
        life.told = True
        self._records.append(seen)

    def _name(self, member: str) -> str:
        """An agent's name for its name in the pool, which in nomad pools has the region after it."""
        return self._names.get(member, member)

    # real serf agents

    def _follow_serf(self, life: Life) -> None:
        sampled = 0.0
        held: dict[str, Seen] = {}
        recorder = Recorder(History())
        while not self._is_over(life):
            if not life.stopped:
                with (
                    suppress(OSError, GossipError),  # not there yet, stopped, or it has ended
                    RpcClient(life.node.rpc, timeout=START_PATIENCE, patience=START_PATIENCE) as client,
                ):
                    while not self._is_over(life) and not life.stopped:
                        self._compare(life, held, client.members())
                        if self.now >= sampled + SAMPLE_EVERY:
                            sampled = self.now
                            self._sample_serf(life, client.stats())
                            self._note_keys(life, recorder)
                        self._over.wait(POLL)
            self._over.wait(RETRY)

    def _is_over(self, life: Life) -> bool:
        return life.over or self._over.is_set() or not life.node.process.alive()

    def _compare(self, life: Life, held: dict[str, Seen], members: list[Member]) -> None:
        """What has changed since the last look. Serf tells no incarnations, nor whom it suspects."""
        now, observer = self.now, life.node.name
        listed = {self._name(member.name): member for member in members}
        for name, member in listed.items():
            before = held.get(name)
            address = str(Address(member.ip, member.port))
            if before is None or (before.status, before.address) != (member.status, address):
                was = before.status if before else "none"
                held[name] = Seen(now, observer, name, was, member.status, address=address)
                self._see(life, held[name])
        for name in [name for name in held if name not in listed]:
            self._see(life, Seen(now, observer, name, held.pop(name).status, "none"))

    def _sample_serf(self, life: Life, stats: Mapping[str, Mapping[str, str]]) -> None:
        told = stats.get("serf", {})
        with suppress(KeyError, ValueError):
            health, ltime = int(told["health_score"]), int(told["member_time"])
            self._records.append(Sample(self.now, life.node.name, health=health, ltime=ltime))

    def _note_keys(self, life: Life, recorder: Recorder) -> None:
        """The keys in its file, which it writes before it obeys."""
        path = keyring_of(self._directory, life.node.name)
        if path.exists():
            with suppress(ConfigError):  # it is just being written
                recorder.keys(self.now, life.node.name, load_keys(path))
        self._records += recorder.history.records
        recorder.history.records.clear()

    def _hear_serf(self, life: Life) -> None:
        """User events, which are not listed anywhere."""
        while not self._is_over(life):
            with suppress(OSError, GossipError), RpcClient(life.node.rpc, timeout=START_PATIENCE) as client:
                for record in client.stream("user"):
                    if isinstance(record, UserRecord):
                        payload = record.payload.decode(errors="replace")
                        name = life.node.name
                        self._records.append(EventDelivered(self.now, name, record.name, payload, record.ltime))
            self._over.wait(RETRY)

    # HTTP

    def _sample_http(self) -> None:
        """Ask all agents of ours by HTTP, again and again, whether they answer and how soon."""
        while not self._over.wait(SAMPLE_EVERY):
            for life in list(self.lives.values()):
                if not life.asking and life.node.http and not (life.over or life.stopped or life.leaving):
                    life.asking = True
                    with suppress(RuntimeError):  # the run is over
                        self._pool.submit(self._ask, life)

    def _ask(self, life: Life) -> None:
        at, changes = self.now, life.changes
        try:
            ApiClient(life.node.url, timeout=HTTP_PATIENCE).agent()
            seconds, life.answered = self.now - at, True
        except ApiError:
            seconds = UNANSWERED
        finally:
            life.asking = False
        undisturbed = changes == life.changes and not life.over and life.node.process.alive()
        if undisturbed and life.answered:
            self._records.append(Sample(at, life.node.name, http=seconds))
