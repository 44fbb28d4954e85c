"""NodeRpcBackend: the agent as the RPC sees it, over a Node."""

import os
import platform
from base64 import b64decode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import trio

from moot.agent.backend import ARCHITECTURES
from moot.agent.delivery import Deliverable, Delivery
from moot.agent.event_filter import EventFilter
from moot.agent.rpc.log_ring import LogRing
from moot.agent.rpc.protocol import KeyResponse
from moot.gossip.errors import CommandError
from moot.gossip.net.answers import Answers
from moot.gossip.net.node import Node
from moot.gossip.serf.asking import Question
from moot.gossip.serf.keys import KeyReport
from moot.gossip.serf.members import SerfMember
from moot.gossip.serf.messages import Coordinate, Query
from moot.http.nomad import multi_error

ALPHABET: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

QUERIES_MAX: Final = 512
"""Most queries that clients of the RPC have open: the rest of an agent's places is for others."""

SetTags = Callable[[Mapping[str, str]], Awaitable[None]]


class NodeRpcBackend:
    """Answers from a node. `name` is its name in the pool.

    `end` stops the agent. `set_tags` is how tags are changed, for an agent that keeps them in a file or has some
    that are not for its operator to change; it raises ConfigError or CommandError. `handlers` lists the event
    handlers' scripts by `EVENT:NAME`.
    """

    def __init__(
        self,
        node: Node,
        delivery: Delivery,
        log_ring: LogRing,
        *,
        name: str,
        end: Callable[[], None],
        set_tags: SetTags | None = None,
        handlers: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.log_ring = log_ring
        self._node = node
        self._delivery = delivery
        self._name = name
        self._end = end
        self._set_tags = set_tags or node.set_tags
        self._handlers = handlers
        self._queries_open = 0

    def members(self) -> Sequence[SerfMember]:
        return self._node.members()

    async def join(self, addresses: Sequence[str], *, replay: bool) -> int:
        outcomes = await self._node.join(addresses, ignore_old=not replay)
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        if errors and len(errors) == len(outcomes):
            raise CommandError(multi_error(errors))
        return len(outcomes) - len(errors)

    async def leave(self) -> None:
        await self._node.leave()

    def end(self) -> None:
        self._end()

    async def force_leave(self, name: str, *, prune: bool) -> None:
        await self._node.force_leave(name, prune=prune)

    def user_event(self, name: str, payload: bytes, *, coalesce: bool) -> None:
        self._node.user_event(name, payload, coalesce=coalesce)

    def query(self, question: Question) -> AbstractContextManager[Answers]:
        return self._counted(question)

    @contextmanager
    def _counted(self, question: Question) -> Iterator[Answers]:
        if self._queries_open >= QUERIES_MAX:
            raise CommandError(f"{QUERIES_MAX} queries are open already; wait until some of them are over")
        with self._node.query(question) as answers:
            self._queries_open += 1
            try:
                yield answers
            finally:
                self._queries_open -= 1

    def respond(self, query: Query, payload: bytes) -> None:
        self._node.respond(query, payload)

    async def change_keys(self, operation: str, key: str) -> tuple[KeyResponse, str]:
        change = {"install": self._node.install_key, "use": self._node.use_key, "remove": self._node.remove_key}
        report = await change[operation](decode_base64(key))
        return _key_response(report, None), report.error

    async def list_keys(self) -> tuple[KeyResponse, str]:
        report = await self._node.list_keys()
        held = Counter(key for answer in report.answers.values() for key in answer.keys)
        return _key_response(report, dict(held)), report.error

    async def change_tags(self, tags: Mapping[str, str], delete: Sequence[str]) -> None:
        kept = {name: value for name, value in self._node.tags.items() if name not in delete}
        await self._set_tags(kept | dict(tags))

    def stats(self) -> Mapping[str, Mapping[str, str]]:
        """`goroutines` counts trio tasks, `version` is Python's: the nearest that this runtime has."""
        machine = platform.machine()
        return {
            "agent": {"name": self._name},
            "runtime": {
                "os": platform.system().lower(),
                "arch": ARCHITECTURES.get(machine, machine),
                "version": f"python{platform.python_version()}",
                "max_procs": str(len(os.sched_getaffinity(0))),
                "goroutines": str(trio.lowlevel.current_statistics().tasks_living),
                "cpu_count": str(os.cpu_count() or 1),
            },
            "serf": self._node.stats(),
            "tags": self._node.tags,
            "event_handlers": self._handlers(),
        }

    def coordinate(self, name: str) -> Coordinate | None:
        return self._node.coordinate(name)

    def events(
        self, about: str, wanted: EventFilter
    ) -> AbstractContextManager[trio.MemoryReceiveChannel[Deliverable]]:
        return self._delivery.subscribe(f"RPC client {about}", wanted)


def _key_response(report: KeyReport, keys: Mapping[str, int] | None) -> KeyResponse:
    """The members' answers as Serf counts them: a text of those that refuse, or that have something to add."""
    answers = report.answers
    texts = {name: answer.text for name, answer in answers.items() if answer.text or not answer.result}
    refused = sum(not answer.result for answer in answers.values())
    return KeyResponse(texts, keys, report.asked, refused, len(answers))


def decode_base64(text: str) -> bytes:
    """A key's bytes. Raises CommandError in Go's words, which name the byte where it goes wrong."""
    octets = text.encode("utf-8", "surrogateescape")
    fault = _fault_in_base64(octets)
    if fault is not None:
        raise CommandError(f"illegal base64 data at input byte {fault}")
    return b64decode(octets)


def _fault_in_base64(octets: bytes) -> int | None:
    """Where Go's decoder stops, None when all is well. Line ends are passed over, as Go does."""
    places = [(at, octet) for at, octet in enumerate(octets) if octet not in b"\r\n"]
    letters = next((count for count, (_, octet) in enumerate(places) if octet not in ALPHABET), len(places))
    rest = places[letters:]
    if not rest:
        return len(octets) - letters % 4 if letters % 4 else None
    missing = -letters % 4
    if rest[0][1] != ord("=") or missing not in (1, 2):
        return rest[0][0]
    if missing == 2 and len(rest) == 1:
        return len(octets)
    if missing == 2 and rest[1][1] != ord("="):
        return rest[1][0] - 1
    return rest[missing][0] if len(rest) > missing else None
