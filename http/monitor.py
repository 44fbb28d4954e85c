"""Nomad's `/v1/agent/monitor`: the agent's log as it is written, until the client hangs up.

A reader that is too slow never holds the log up: what waits for it is bounded, what is more than that is lost,
and told in its place as soon as there is room again.
"""

import datetime
import functools
import json
from base64 import b64encode
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal, cast, get_args

import msgspec
import trio

from moot.http.acl import Right
from moot.http.backend import Backend
from moot.http.describe import COMMON, COMMON_FAILURES, Answer, Doc, Failure, Parameter, Truth
from moot.http.exchange import JSON, HttpError, Reply, Send, Stream
from moot.http.nomad_admin import ONE_AGENT, OTHERS, refuse_other_agents
from moot.http.nomad_operations import LogLevel
from moot.http.routes import ANY, READ, Call, Route, check_query, read_bool

HEARTBEAT: Final = 1.0
"""Seconds of silence after which a frame says that the agent is still there."""
BATCH: Final = 0.2
"""Seconds for which lines are gathered before they are sent together."""
FRAME_BYTES: Final = 1024
"""How much of the log goes into one frame, as with Nomad."""
SEND_BYTES: Final = 16 * 1024
"""How much of the log a reader is given at once: each such piece has the server's write timeout."""
WAITING_BYTES_MAX: Final = 256 * 1024
"""Of the log that waits for one reader."""
PLAIN: Final = b"text/plain"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for."""

    level: LogLevel
    as_json: bool
    plain: bool
    located: bool


LEVEL_PATTERN: Final = "|".join(
    "".join(f"[{letter.upper()}{letter}]" for letter in word) for word in get_args(LogLevel)
).join(("^(", ")?$"))
"""Levels in any case, for a dialect that cannot say so."""


class Frame(msgspec.Struct, omit_defaults=True, rename="pascal"):
    """A piece of the log; empty after each second of silence."""

    data: str = ""
    """Base64 of whole lines, together up to 1 KiB; a longer line is cut."""
    file_event: str = ""
    """`log`."""


MONITOR: Final = Doc(
    "Follow the log.",
    "Without end, until the client hangs up. Any method is taken. What waits for one reader is at most 256 KiB:"
    " what is more is"
    " lost, and a line tells how much.",
    methods=READ,
    right=Right.AGENT_READ,
    parameters=(
        Parameter(
            "log_level",
            "trace, debug, info (unless given), warn, error or off, in any case; it may be finer than the agent's"
            " own.",
            Annotated[str, msgspec.Meta(pattern=LEVEL_PATTERN)],
        ),
        Parameter("plain", "Whether the lines come as they are. Empty counts as false.", Literal["", Truth]),
        Parameter("log_json", "Whether each line is a JSON object. Empty counts as false.", Literal["", Truth]),
        Parameter("log_include_location", "Whether lines tell their place in the code.", Literal["", Truth]),
        *ONE_AGENT,
        *COMMON,
    ),
    answers=(
        Answer(Frame, "Objects one after the other without anything between them;", streamed=True),
        Answer(str, "with `plain` the lines.", content_type=PLAIN, streamed=True),
    ),
    failures=(
        Failure(400, "Unknown log level: …"),
        Failure(400, "Unknown option for …: strconv.ParseBool: parsing …: invalid syntax"),
        Failure(400, "Cannot target node and server simultaneously"),
        *COMMON_FAILURES,
        *OTHERS,
    ),
)


class MonitorApi:
    """The handler."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """The table. Nomad takes any method here, and looks at the parameters before the rights."""
        return [Route("/v1/agent/monitor", ANY, self.monitor, own_pages_only=True, right=None, docs=(MONITOR,))]

    async def monitor(self, call: Call) -> Reply:
        """Follow the log: frames of JSON, or with `plain` its lines."""
        wish = read_wish(call)
        call.require(Right.AGENT_READ)
        refuse_other_agents(self._backend, call)
        if call.request.method == "HEAD":
            return Reply(b"{}", PLAIN if wish.plain else JSON)
        tail = Tail(as_json=wish.as_json)
        unfollow = self._backend.nomad.follow_log(
            tail.offer, level=wish.level, as_json=wish.as_json, located=wish.located
        )
        write = functools.partial(write_plain if wish.plain else write_frames, tail)
        return Reply.streamed(Stream(write, unfollow), PLAIN if wish.plain else JSON)


def read_wish(call: Call) -> Wish:
    """Raises HttpError 400."""
    query = call.query
    level = query.first("log_level") or "INFO"
    word = level.strip().lower()
    if word not in get_args(LogLevel):
        raise HttpError(400, f"Unknown log level: {level}")
    as_json, plain, located = (
        _flag(call, name, words)
        for name, words in (
            ("log_json", "log json"),
            ("plain", "plain"),
            ("log_include_location", "log_include_location"),
        )
    )
    if query.first("node_id") and query.first("server_id"):
        raise HttpError(400, "Cannot target node and server simultaneously")
    check_query(query)
    return Wish(cast(LogLevel, word), as_json, plain, located)


def _flag(call: Call, name: str, words: str) -> bool:
    text = call.query.first(name)
    found = read_bool(text) if text else False
    if found is None:
        quoted = json.dumps(text, ensure_ascii=False)
        raise HttpError(400, f"Unknown option for {words}: strconv.ParseBool: parsing {quoted}: invalid syntax")
    return found


class Tail:
    """Lines on their way from the log to one reader."""

    def __init__(self, *, as_json: bool, waiting_bytes_max: int = WAITING_BYTES_MAX) -> None:
        self._as_json = as_json
        self._room = waiting_bytes_max
        self._lines: deque[bytes] = deque()
        self._lost_count = 0
        self._news = trio.Event()

    def offer(self, line: str) -> None:
        """A line of the log, without its line end. Never waits."""
        data = line.encode("utf-8", "replace") + b"\n"
        if self._lost_count or len(data) > self._room:
            self._lost_count += 1
        else:
            self._room -= len(data)
            self._lines.append(data)
        self._news.set()

    async def wait(self) -> None:
        """Until there is something to take."""
        await self._news.wait()

    def take(self) -> bytes:
        """All that waits, whole lines; empty for none. What was lost is told behind it."""
        lines = list(self._lines)
        self._lines.clear()
        self._room += sum(map(len, lines))
        if self._lost_count:
            lines.append(self._lost_line())
            self._lost_count = 0
        self._news = trio.Event()
        return b"".join(lines)

    def _lost_line(self) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
        module, text, count = "http.monitor", "lines dropped, the reader is too slow", self._lost_count
        if not self._as_json:
            return f"{stamp} [WARN]  {module}: {text}: count={count}\n".encode()
        entry = {"@level": "warn", "@message": text, "@module": module, "@timestamp": stamp, "count": count}
        return json.dumps(entry).encode() + b"\n"


async def write_plain(tail: Tail, send: Send) -> None:
    """The lines as they are, and nothing while there are none."""
    while True:
        await tail.wait()
        await trio.sleep(BATCH)
        for piece in pieces(tail.take(), SEND_BYTES):
            await send(piece)


async def write_frames(tail: Tail, send: Send) -> None:
    """Frames of JSON one after the other, without anything between them."""
    while True:
        with trio.move_on_after(HEARTBEAT) as patience:
            await tail.wait()
        if patience.cancelled_caught:
            await send(b"{}")
            continue
        await trio.sleep(BATCH)
        for piece in pieces(tail.take(), SEND_BYTES):
            await send(b"".join(map(frame, pieces(piece, FRAME_BYTES))))


def frame(piece: bytes) -> bytes:
    """One frame with a piece of the log."""
    return b'{"Data":"%b","FileEvent":"log"}' % b64encode(piece)


def pieces(text: bytes, size_max: int) -> Iterator[bytes]:
    """Whole lines of at most `size_max` bytes together; a longer line is cut."""
    begin = 0
    while begin < len(text):
        end = text.rfind(b"\n", begin, begin + size_max) + 1 or begin + size_max
        yield text[begin:end]
        begin = end
