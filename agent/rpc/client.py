"""RpcClient: Serf's client RPC over a plain socket, synchronous, so that a command line starts fast.

It speaks to our agents and to real serf agents alike. Dialling and writing are bounded in time; waiting for an
answer is not, because a join or a leave takes as long as it takes.
"""

import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar

from moot.agent.rpc import protocol
from moot.agent.rpc.layout import Layout
from moot.agent.rpc.protocol import (
    AnswerHeader,
    AnswerRecord,
    Body,
    Coordinate,
    EventRecord,
    KeyResponse,
    LogRecord,
    Member,
    Record,
)
from moot.gossip.errors import GossipError, WireError
from moot.gossip.pack import Cursor, Incomplete

T = TypeVar("T")

TIMEOUT: Final = 10.0
"""Seconds that dialling and each write may take, as in Serf's client."""
VALUE_MAX: Final = 64 * 1024 * 1024
"""Most bytes of one value from the agent; a list of members is read one by one and may be longer."""
MEMBERS_MAX: Final = 1 << 20
BACKLOG_MAX: Final = 1 << 16
"""Most records that may arrive while an answer is awaited."""
READ_SIZE: Final = 64 * 1024


class RpcError(GossipError):
    """The agent refused; the text is the agent's own."""


class RpcClosed(GossipError):
    """The connection ended, or what came was no RPC. The text is `client closed`, as Serf's client has it."""

    def __init__(self) -> None:
        super().__init__("client closed")


class RpcClient:
    """One connection to an agent, handshake done.

    `address` is `host:port` or `[v6]:port`. With an `auth_key` the client authenticates, too. `patience` is how many
    seconds it waits for each piece of an answer; longer silence is RpcClosed. Raises OSError
    when the agent cannot be reached, ValueError for an address without a port, RpcError when the agent refuses
    the handshake or the key, RpcClosed when it hangs up or is no agent; so does every method, but for the
    first two.

    Close it, or use it in a `with` block. Not for several threads at once.
    """

    def __init__(
        self, address: str, auth_key: str = "", *, timeout: float = TIMEOUT, patience: float | None = None
    ) -> None:
        self._timeout = timeout
        self._patience = patience
        self._seq = 0
        self._cursor = Cursor()
        self._records: dict[int, Callable[[], Record]] = {}  # of what streams: seq → how its records are read
        self._backlog: deque[tuple[int, Record]] = deque()  # arrived and not asked for yet
        self._stopped: set[int] = set()
        self._socket = socket.create_connection(split_address(address), timeout)
        try:
            self._ask("handshake", protocol.Handshake())
            if auth_key:
                self._ask("auth", protocol.Auth(auth_key))
        except BaseException:  # interrupted, too: nothing is left open
            self.close()
            raise

    def close(self) -> None:
        """End the connection; the agent drops its streams."""
        self._socket.close()

    def __enter__(self) -> "RpcClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # members

    def members(self) -> list[Member]:
        """Everybody the agent knows."""
        return list(self._ask_for(protocol.MEMBERS, "members").members)

    def members_filtered(
        self, *, tags: Mapping[str, str] | None = None, status: str = "", name: str = ""
    ) -> list[Member]:
        """Those that match all regular expressions (RE2, anchored at both ends); an empty one lets all pass.

        An agent closes the connection over an invalid expression, which is RpcClosed here.
        """
        body = protocol.MembersFiltered(tags or {}, status, name)
        return list(self._ask_for(protocol.MEMBERS, "members-filtered", body).members)

    def join(self, addresses: Sequence[str], *, replay: bool = False) -> int:
        """Join through these addresses; how many were contacted. RpcError when none was.

        With `replay` the agent takes over the user events that happened before.
        """
        return self._ask_for(protocol.JOINED, "join", protocol.Join(addresses, replay)).count

    def leave(self) -> None:
        """Make the agent leave the pool and end."""
        self._ask("leave")

    def force_leave(self, node: str, *, prune: bool = False) -> None:
        """Turn a failed member into one that left; with `prune` forget it. An unknown node is no error."""
        self._ask("force-leave", protocol.ForceLeave(node, prune))

    def tags(self, tags: Mapping[str, str] | None = None, delete: Sequence[str] = ()) -> None:
        """Change the agent's own tags."""
        self._ask("tags", protocol.Tags(tags, delete))

    # events and queries

    def event(self, name: str, payload: bytes = b"", *, coalesce: bool = False) -> None:
        """Send a user event."""
        self._ask("event", protocol.Event(name, payload, coalesce))

    def query(
        self,
        name: str,
        payload: bytes = b"",
        *,
        nodes: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        ack: bool = False,
        relay_factor: int = 0,
        timeout: float = 0.0,
    ) -> Iterator[AnswerRecord]:
        """Ask the pool; sent when this is called. Acks and responses follow, at the deadline `done`, then the end.

        `timeout` in seconds, 0 for the agent's default. `nodes` and `tags` (name → RE2) choose who is asked.
        """
        body = protocol.Query(name, payload, nodes, tags, ack, relay_factor, round(timeout * 1e9))
        seq = self._start("query", body, self._reader(protocol.ANSWER_RECORD))
        return self._answers(seq)

    def _answers(self, seq: int) -> Iterator[AnswerRecord]:
        for _, record in self.records(seq):
            assert isinstance(record, AnswerRecord)
            yield record
            if record.type == protocol.DONE:
                self._stopped.add(seq)
                return

    def respond(self, query_id: int, payload: bytes) -> None:
        """Answer a query that this connection's stream brought (QueryRecord.id)."""
        self._ask("respond", protocol.Respond(query_id, payload))

    # keys

    def install_key(self, key: str) -> tuple[KeyResponse, str]:
        """Add a key (base64) to every member's keyring. What they said, and the error as a whole or ""."""
        return self._keys("install-key", protocol.Key(key))

    def use_key(self, key: str) -> tuple[KeyResponse, str]:
        """Make an installed key the one that seals."""
        return self._keys("use-key", protocol.Key(key))

    def remove_key(self, key: str) -> tuple[KeyResponse, str]:
        """Take a key off every keyring."""
        return self._keys("remove-key", protocol.Key(key))

    def list_keys(self) -> tuple[KeyResponse, str]:
        """Which keys there are, and how many members hold each."""
        return self._keys("list-keys")

    def _keys(self, command: str, body: Body | None = None) -> tuple[KeyResponse, str]:
        header = self._request(command, body)
        if header.error == protocol.AUTH_REQUIRED:
            raise RpcError(header.error)
        return self._body(protocol.KEY_RESPONSE), header.error

    # facts

    def stats(self) -> dict[str, dict[str, str]]:
        """The agent's statistics: sections of names and texts."""
        self._ask("stats")
        return self._guarded(lambda: protocol.read_stats(self._fields()))

    def get_coordinate(self, node: str) -> Coordinate | None:
        """The coordinate that the agent holds of a member, or None."""
        body = protocol.GetCoordinate(node)
        answer = self._ask_for(protocol.COORDINATE_ANSWER, "get-coordinate", body)
        return answer.coordinate if answer.ok else None

    # streams

    def start_stream(self, filters: str = "*") -> int:
        """Let the agent send events that match (see `moot.agent.event_filter`); the seq of their records."""
        return self._start("stream", protocol.Stream(filters), self._event)

    def start_monitor(self, level: str = "INFO") -> int:
        """Let the agent send its log from this level up; the seq of the records."""
        return self._start("monitor", protocol.Monitor(level), self._reader(protocol.LOG_RECORD))

    def stop(self, seq: int) -> None:
        """End a stream or the monitor. Its iterator ends after the records that had arrived before."""
        self._ask("stop", protocol.Stop(seq))
        self._stopped.add(seq)

    def records(self, *seqs: int) -> Iterator[tuple[int, Record]]:
        """The records of these streams with their seq, as they come; ends when all of them were stopped.

        Those of other streams wait for their own readers. Other methods may be called in between.
        """
        while True:
            for waiting in self._backlog:
                if waiting[0] in seqs:
                    break
            else:
                if self._stopped.issuperset(seqs):
                    return
                self._keep(self._header())
                continue
            self._backlog.remove(waiting)
            yield waiting

    def stream(self, filters: str = "*") -> Iterator[EventRecord]:
        """Events as they happen, until stopped; started when this is called."""
        return self._only(self.start_stream(filters))

    def monitor(self, level: str = "INFO") -> Iterator[str]:
        """The last 512 lines of the log, then new ones as they are written."""
        lines: Iterator[LogRecord] = self._only(self.start_monitor(level))
        return (record.line for record in lines)

    def watch(self, filters: str = "*", level: str = "INFO") -> Iterator[Record]:
        """Events and log lines on this one connection in the order they come, as `serf monitor` shows them."""
        seqs = (self.start_stream(filters), self.start_monitor(level))
        return (record for _, record in self.records(*seqs))

    def _only(self, seq: int) -> Iterator[Any]:
        return (record for _, record in self.records(seq))

    # asking

    def _send(self, command: str, body: Body | None) -> int:
        self._seq += 1
        self._socket.settimeout(self._timeout)
        try:
            self._socket.sendall(protocol.encode_request(command, self._seq, body))
        except OSError as error:
            raise RpcClosed from error
        return self._seq

    def _request(self, command: str, body: Body | None = None) -> AnswerHeader:
        """Send, and wait for the answer's header."""
        seq = self._send(command, body)
        while True:
            header = self._header()
            if header.seq == seq:
                return header
            self._keep(header)

    def _ask(self, command: str, body: Body | None = None) -> int:
        header = self._request(command, body)
        if header.error:
            raise RpcError(header.error)
        return header.seq

    def _ask_for(self, layout: Layout[T], command: str, body: Body | None = None) -> T:
        """For the commands whose answer has a body. It has one in case of an error, too, but for one error."""
        header = self._request(command, body)
        if header.error == protocol.AUTH_REQUIRED:
            raise RpcError(header.error)
        answer = self._body(layout)
        if header.error:
            raise RpcError(header.error)
        return answer

    def _start(self, command: str, body: Body, read: Callable[[], Record]) -> int:
        seq = self._ask(command, body)
        self._records[seq] = read
        return seq

    # reading

    def _reader(self, layout: Layout[Any]) -> Callable[[], Record]:
        return lambda: self._body(layout)

    def _event(self) -> Record:
        fields = self._guarded(self._fields)
        return self._guarded(lambda: protocol.read_event(fields))

    def _header(self) -> AnswerHeader:
        return self._guarded(lambda: protocol.ANSWER_HEADER.read(self._value()))

    def _body(self, layout: Layout[T]) -> T:
        return self._guarded(lambda: layout.read(self._fields()))

    def _keep(self, header: AnswerHeader) -> None:
        """Read the record that follows a header which is no answer."""
        read = self._records.get(header.seq)
        if read is None or len(self._backlog) >= BACKLOG_MAX:
            self.close()
            raise RpcClosed
        record = read()
        if header.seq not in self._stopped:
            self._backlog.append((header.seq, record))

    def _fields(self) -> dict[bytes, object]:
        """A structure; a list of members in it is read one by one, because it may be long."""
        count, is_map = self._pull(self._cursor.structure)
        if count and not is_map:
            raise WireError("field", "array instead of map")
        fields: dict[bytes, object] = {}
        for _ in range(count):
            key = self._value()
            if not isinstance(key, bytes):
                raise WireError("field", "a key that is no text")
            fields[key] = self._members() if key == b"Members" else self._value()
        return fields

    def _members(self) -> list[object]:
        count = self._pull(lambda: self._cursor.entries(MEMBERS_MAX, pairs=False))
        return [self._value() for _ in range(count)]

    def _value(self) -> object:
        return self._pull(lambda: self._cursor.value(VALUE_MAX))

    def _pull(self, step: Callable[[], T]) -> T:
        """One step of the decoder, receiving what it needs."""
        while True:
            try:
                return step()
            except Incomplete:
                self._receive()

    def _receive(self) -> None:
        self._socket.settimeout(self._patience)
        try:
            data = self._socket.recv(READ_SIZE)
        except OSError as error:
            raise RpcClosed from error
        if not data:
            raise RpcClosed
        self._cursor.feed(data)

    def _guarded(self, read: Callable[[], T]) -> T:
        """Read something; junk ends the connection, since nothing after it can be understood."""
        try:
            return read()
        except WireError as error:
            self.close()
            raise RpcClosed from error


def split_address(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` apart. Raises ValueError in Go's words when it is neither."""
    host, colon, port = address.rpartition(":")
    if not colon:
        raise ValueError(f"address {address}: missing port in address")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"address {address}: too many colons in address")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"address {address}: invalid port")
    return host, int(port)
