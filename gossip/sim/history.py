"""History: what happened in a run, as typed records in the order of time. Real agents and simulated ones alike.

Times are seconds since the run began, on one clock, the observer's true one. On disk it is JSON lines: the first
is the heading, each other one a record with its kind under `t`. Nothing is ever changed, only appended.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final, TypeAlias, TypeVar, get_type_hints

from moot.gossip.errors import ConfigError

FORMAT = 1
LINE_MAX = 1 << 20
"""Most characters of a line that is read."""
RECORDS_MAX = 20_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """An observer's view of a subject changed, or it saw a newer incarnation.

    Statuses are `alive suspect leaving left failed none`; none is "not listed". `accuser` is who told or found
    that it is suspect or failed, `confirmed` how many others did, as far as the observer knows; `address` where
    the subject is said to be.
    """

    at: float
    observer: str
    subject: str
    before: str
    status: str
    incarnation: int = 0
    ltime: int = 0
    accuser: str = ""
    confirmed: int = 0
    address: str = ""


@dataclass(frozen=True, slots=True)
class Life:
    """What became of an agent, as whoever runs it knows: `started stopped continued leaving left killed ended`.

    `left` is the end of its process after a leave, `ended` one by itself. `member` is the name it bears in the
    pool when that is not its own: two agents may claim one.
    """

    at: float
    agent: str
    what: str
    member: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class FaultBegan:
    """From now on this is wrong; the words of an action with names of members in it."""

    at: float
    words: str


@dataclass(frozen=True, slots=True)
class FaultEnded:
    """What `FaultBegan` of these words told is over."""

    at: float
    words: str


@dataclass(frozen=True, slots=True)
class Command:
    """An action was carried out by an agent (none: by whoever runs the pool), and ended so many seconds later.

    `error` is empty when all went well. `at` is the end.
    """

    at: float
    words: str
    agent: str = ""
    seconds: float = 0.0
    error: str = ""
    result: str = ""


@dataclass(frozen=True, slots=True)
class Waited:
    """A step waited until something holds: for so many seconds, and whether it did come about."""

    at: float
    words: str
    seconds: float
    reached: bool


@dataclass(frozen=True, slots=True)
class EventSent:
    """An agent was told to send a user event."""

    at: float
    agent: str
    name: str
    payload: str = ""


@dataclass(frozen=True, slots=True)
class EventDelivered:
    """An agent handed a user event to its program."""

    at: float
    agent: str
    name: str
    payload: str = ""
    ltime: int = 0


@dataclass(frozen=True, slots=True)
class Refuted:
    """An agent contradicted what was said about it, under a new incarnation."""

    at: float
    agent: str
    incarnation: int
    accuser: str = ""


@dataclass(frozen=True, slots=True)
class KeyState:
    """The keys of an agent, the primary one first, each as a short hash."""

    at: float
    agent: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """Figures of an agent: bytes and messages sent since its start, health score, its member clock, and in how
    many seconds its HTTP API answered. -1 is not measured, for HTTP -2 that it did not answer."""

    at: float
    agent: str
    bytes: int = -1
    messages: int = -1
    health: int = -1
    ltime: int = -1
    http: float = -1.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over; what is not here did not happen."""

    at: float


Record: TypeAlias = (
    Seen
    | Life
    | FaultBegan
    | FaultEnded
    | Command
    | Waited
    | EventSent
    | EventDelivered
    | Refuted
    | KeyState
    | Sample
    | Ended
)
R = TypeVar("R")

KINDS: Final[dict[str, type[Any]]] = {
    "seen": Seen,
    "life": Life,
    "fault-began": FaultBegan,
    "fault-ended": FaultEnded,
    "command": Command,
    "waited": Waited,
    "event-sent": EventSent,
    "event-delivered": EventDelivered,
    "refuted": Refuted,
    "keys": KeyState,
    "sample": Sample,
    "ended": Ended,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


@dataclass(slots=True)
class History:
    """A run: what it was of, and its records. `source` is `simulator` or `processes`; `names` are the members'."""

    names: list[str] = field(default_factory=list)
    scenario: str = ""
    seed: int = 0
    source: str = "simulator"
    records: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Append what happened now."""
        self.records.append(record)

    def of(self, kind: type[R]) -> list[R]:
        """The records of one kind."""
        return [record for record in self.records if isinstance(record, kind)]

    def dump(self) -> Iterator[str]:
        """The lines of the file, without line ends."""
        yield json.dumps(
            {
                "moot-history": FORMAT,
                "scenario": self.scenario,
                "seed": self.seed,
                "source": self.source,
                "names": self.names,
            }
        )
        for record in self.records:
            yield line_of(record)


def line_of(record: Record) -> str:
    """One record as a line; fields that say nothing are left out."""
    found: dict[str, object] = {"t": _NAMES[type(record)]}
    for each in fields(record):
        value = getattr(record, each.name)
        if each.default is MISSING or value != each.default:
            found[each.name] = round(value, 6) if isinstance(value, float) else value
    return json.dumps(found, ensure_ascii=True, separators=(",", ":"))


def record_of(line: str) -> Record:
    """The record of a line. Raises ConfigError that says what is wrong with it."""
    held = _object(line)
    kind = KINDS.get(str(held.pop("t", "")))
    if kind is None:
        raise ConfigError("no record of a known kind")
    readers = _READERS[kind]
    values = {}
    for key, value in held.items():
        if key not in readers:
            raise ConfigError(f"{_NAMES[kind]}: unknown field {key[:40]}")
        values[key] = readers[key](key, value)
    missing = [each.name for each in fields(kind) if each.default is MISSING and each.name not in values]
    if missing:
        raise ConfigError(f"{_NAMES[kind]}: no {missing[0]}")
    record: Record = kind(**values)
    return record


def load(lines: Iterable[str]) -> History:
    """The history of a file's lines. Raises ConfigError, naming the line, when it is none."""
    history = History()
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if number > RECORDS_MAX:
                raise ConfigError("too many records")
            if number == 1:
                _heading(history, line)
            else:
                history.add(record_of(line))
    except ConfigError as error:
        raise ConfigError(f"line {number}: {error}") from None
    if not number:
        raise ConfigError("line 1: no heading")
    return history


def _heading(history: History, line: str) -> None:
    held = _object(line)
    if held.get("moot-history") != FORMAT:
        raise ConfigError(f"not a history of format {FORMAT}")
    history.names = list(_strings("names", held.get("names", [])))
    history.scenario = _string("scenario", held.get("scenario", ""))
    history.source = _string("source", held.get("source", ""))
    history.seed = _integer("seed", held.get("seed", 0))


def _object(line: str) -> dict[str, Any]:
    if len(line) > LINE_MAX:
        raise ConfigError(f"longer than {LINE_MAX} characters")
    try:
        held = json.loads(line)
    except (ValueError, RecursionError):
        raise ConfigError("no JSON") from None
    if not isinstance(held, dict):
        raise ConfigError("no JSON object")
    return held


def _string(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{key} must be a text")
    return value


def _strings(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{key} must be a list of texts")
    return tuple(_string(key, each) for each in value)


def _integer(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{key} must be a whole number")
    return value


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{key} must be a finite number")
    return float(value)


def _truth(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{key} must be true or false")
    return value


_READER_OF: Final[Mapping[object, Callable[[str, object], object]]] = {
    str: _string,
    int: _integer,
    float: _number,
    bool: _truth,
    tuple[str, ...]: _strings,
}
_READERS: Final[Mapping[type[Any], Mapping[str, Callable[[str, object], object]]]] = {
    kind: {key: _READER_OF[hint] for key, hint in get_type_hints(kind).items()} for kind in KINDS.values()
}


def in_order(parts: Sequence[Iterable[Record]]) -> list[Record]:
    """Records of several sources in the order of time; of one instant, in the order of the sources."""
    return sorted((record for part in parts for record in part), key=lambda record: record.at)
