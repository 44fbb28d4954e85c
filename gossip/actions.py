"""Actions: what is done to a pool on purpose, in words. One grammar for command line, scenario files and API.

```
loss 10% [SCOPE]          delay 50ms±20ms [SCOPE]   duplicate 5% [SCOPE]     corrupt 1% [SCOPE]
reorder 10% 50ms [SCOPE]  bandwidth 64KB/s [SCOPE]  cut SCOPE                partition a,b c,d
slow NAME 300ms|off       clock NAME [+5s] [drift 1%] | right                disk-full NAME [off]
heal [partition|VERB [SCOPE]]                       calm
kill NAME    stop NAME    cont NAME    leave NAME   start|restart|move|twin NAME [via NAME] [fresh]
join NAME NAME            force-leave NAME [by NAME]                         prune NAME [by NAME]
event WORD [WORD] [by NAME]                         query WORD [by NAME]     flood NAME
key install|use|remove|list [KEY] [by NAME]
```

SCOPE is a way and a transport, each optional: `a>b` one direction, `a<>b` both, `a` every link of a; then `udp`
or `tcp`. NAME is a selector (`selectors`). `str` of an action gives its words back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from moot.gossip.amounts import rate, rate_text, seconds, seconds_text, share, share_text
from moot.gossip.errors import ConfigError
from moot.gossip.faults import TRUE_CLOCK, Clock, Fault, Transport
from moot.gossip.selectors import check

TRANSPORTS: Final[dict[str, Transport]] = {"udp": "packet", "tcp": "stream"}
PROCESS_VERBS = ("kill", "stop", "cont", "leave", "start", "restart", "move", "twin")
STARTING_VERBS = ("start", "restart", "move", "twin")
KEY_VERBS = ("install", "use", "remove", "list")
WORDS_MAX = 4096
"""Most characters of an action."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which messages a fault meets: selectors of both ends, None is everybody."""

    source: str | None = None
    to: str | None = None
    both_ways: bool = False
    transport: Transport | None = None

    def __str__(self) -> str:
        way = ""
        if self.source is not None and self.to is not None:
            way = f"{self.source}{'<>' if self.both_ways else '>'}{self.to}"
        elif self.source is not None or self.to is not None:
            way = f"{self.source or self.to}"
            if not self.both_ways:
                way = f"{way}>all" if self.source is not None else f"all>{way}"
        carried = {"packet": "udp", "stream": "tcp", None: ""}[self.transport]
        return f"{way} {carried}".strip()


@dataclass(frozen=True, slots=True)
class Disturb:
    """Put a fault on links: `verb` says which kind, `amounts` how bad; the latter's own ends are not used."""

    verb: str
    amounts: Fault
    scope: Scope = Scope()

    def __str__(self) -> str:
        return " ".join(filter(None, (self.verb, amount_words(self.verb, self.amounts), str(self.scope))))


@dataclass(frozen=True, slots=True)
class Partition:
    """Let nothing pass between groups of members; those that are not named form one more."""

    groups: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(("partition", *self.groups))


@dataclass(frozen=True, slots=True)
class Slow:
    """Let members handle every message so many seconds late; 0 is at once."""

    members: str
    seconds: float

    def __str__(self) -> str:
        return f"slow {self.members} {seconds_text(self.seconds) if self.seconds else 'off'}"


@dataclass(frozen=True, slots=True)
class SetClock:
    """Let clocks of members go wrong."""

    members: str
    clock: Clock

    def __str__(self) -> str:
        if self.clock == TRUE_CLOCK:
            return f"clock {self.members} right"
        words = ["clock", self.members]
        if self.clock.offset:
            words.append(_signed(self.clock.offset, seconds_text))
        if self.clock.drift:
            words += ["drift", _signed(self.clock.drift, share_text)]
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class DiskFull:
    """Let snapshots of members find no room, or room again."""

    members: str
    full: bool = True

    def __str__(self) -> str:
        return f"disk-full {self.members}{'' if self.full else ' off'}"


@dataclass(frozen=True, slots=True)
class Heal:
    """Lift the faults of links: all, the partition alone, one kind, or one kind in one scope."""

    what: str = ""
    scope: Scope | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, ("heal", self.what, str(self.scope or ""))))


@dataclass(frozen=True, slots=True)
class Calm:
    """Everything back: heal, and nobody is stopped, slow, late or without room. Who was killed stays dead."""

    def __str__(self) -> str:
        return "calm"


@dataclass(frozen=True, slots=True)
class Process:
    """Do something to the processes of members. `verb` is one of PROCESS_VERBS.

    `via` is whom those that start join, by default whoever is there; `fresh`: without their snapshot. `move`
    restarts at a new address, `twin` starts another of the same name beside it.
    """

    verb: str
    members: str
    via: str = ""
    fresh: bool = False

    def __str__(self) -> str:
        words = [self.verb, self.members]
        if self.via:
            words += ["via", self.via]
        return " ".join([*words, "fresh"] if self.fresh else words)


@dataclass(frozen=True, slots=True)
class Join:
    """Let members join others."""

    members: str
    targets: str

    def __str__(self) -> str:
        return f"join {self.members} {self.targets}"


@dataclass(frozen=True, slots=True)
class ForceLeave:
    """Declare that a member left, with `prune` that it be forgotten. It may be one that nobody knows."""

    member: str
    prune: bool = False
    by: str = ""

    def __str__(self) -> str:
        return f"{'prune' if self.prune else 'force-leave'} {self.member}{_by(self.by)}"


@dataclass(frozen=True, slots=True)
class SendEvent:
    """Send a user event."""

    name: str
    payload: str = ""
    by: str = ""

    def __str__(self) -> str:
        return f"event {self.name}{f' {self.payload}' if self.payload else ''}{_by(self.by)}"


@dataclass(frozen=True, slots=True)
class AskQuery:
    """Ask all members a query."""

    name: str
    by: str = ""

    def __str__(self) -> str:
        return f"query {self.name}{_by(self.by)}"


@dataclass(frozen=True, slots=True)
class Keys:
    """Have all members do something with a key. `key` is base64, or a word that stands for a key of its own."""

    operation: str
    key: str = ""
    by: str = ""

    def __str__(self) -> str:
        return f"key {self.operation}{f' {self.key}' if self.key else ''}{_by(self.by)}"


@dataclass(frozen=True, slots=True)
class Flood:
    """A hostile peer, which is no member, sends garbage and forged claims to these members until `calm`."""

    members: str
    on: bool = True

    def __str__(self) -> str:
        return f"flood {self.members}{'' if self.on else ' off'}"


Action: TypeAlias = (
    Disturb
    | Partition
    | Slow
    | SetClock
    | DiskFull
    | Heal
    | Calm
    | Process
    | Join
    | ForceLeave
    | SendEvent
    | AskQuery
    | Keys
    | Flood
)


def parse(text: str) -> Action:
    """The action of some words. Raises ConfigError that says how they should be."""
    if len(text) > WORDS_MAX:
        raise ConfigError(f"an action has at most {WORDS_MAX} characters")
    words = text.split()
    if not words:
        raise ConfigError("an action needs a verb, such as kill")
    verb, rest = words[0], words[1:]
    read = _READERS.get(verb)
    if read is None:
        raise ConfigError(f"there is no action {verb}; there are {', '.join(sorted(_READERS))}")
    return read(verb, rest)


def amount_words(verb: str, amounts: Fault) -> str:
    """How bad a fault of that kind is, as in the words of its action."""
    match verb:
        case "delay":
            swing = amounts.jitter / 2
            text = seconds_text(amounts.delay + swing)
            return f"{text}±{seconds_text(swing)}" if swing else text
        case "reorder":
            return f"{share_text(amounts.reorder)} {seconds_text(amounts.reorder_delay)}"
        case "bandwidth":
            return rate_text(amounts.bandwidth or 0.0)
        case "cut":
            return ""
        case _:
            return share_text(
                {"loss": amounts.loss, "duplicate": amounts.duplicate, "corrupt": amounts.corrupt}[verb]
            )


def undoing(action: Action) -> Action | None:
    """What ends it, for one that lasts; None for one that is over at once."""
    match action:
        case Disturb(verb, _, scope):
            return Heal(verb, scope)
        case Partition():
            return Heal("partition")
        case Slow(members):
            return Slow(members, 0.0)
        case SetClock(members):
            return SetClock(members, TRUE_CLOCK)
        case DiskFull(members):
            return DiskFull(members, False)
        case Flood(members):
            return Flood(members, False)
        case Process("stop", members):
            return Process("cont", members)
        case Process("kill" | "leave", members):
            return Process("start", members)
        case _:
            return None


def scope_of(words: list[str]) -> Scope:
    """The scope of the last words of a fault. Raises ConfigError."""
    rest = list(words)
    transport = TRANSPORTS[rest.pop()] if rest and rest[-1] in TRANSPORTS else None
    if not rest:
        return Scope(transport=transport)
    if len(rest) > 1:
        raise ConfigError(f"{' '.join(rest)!r} is no link; write a>b, a<>b or a, then udp or tcp")
    way = rest[0].replace("→", ">").replace("↔", "<>")
    for arrow, both_ways in (("<>", True), (">", False)):
        if arrow in way:
            source, _, to = way.partition(arrow)
            return Scope(_end(source), _end(to), both_ways, transport)
    return Scope(_end(way), None, True, transport)


def _end(selector: str) -> str | None:
    return None if selector == "all" else check(selector)


def _signed(amount: float, text: Callable[[float], str]) -> str:
    return f"{'-' if amount < 0 else '+'}{text(abs(amount))}"


def _by(by: str) -> str:
    return f" by {by}" if by else ""


def _exactly(words: list[str], most: int, form: str, least: int | None = None) -> None:
    if not (most if least is None else least) <= len(words) <= most:
        raise ConfigError(f"write it as: {form}")


def _without_by(words: list[str]) -> tuple[list[str], str]:
    """The words before a last `by NAME`, and the name."""
    if len(words) >= 2 and words[-2] == "by":
        return words[:-2], check(words[-1])
    return words, ""


def _read_share(verb: str, words: list[str]) -> Action:
    _exactly(words, 3, f"{verb} 10% [a>b] [udp|tcp]", 1)
    amount = share(words[0])
    kinds = {"loss": Fault(loss=amount), "duplicate": Fault(duplicate=amount), "corrupt": Fault(corrupt=amount)}
    return Disturb(verb, kinds[verb], scope_of(words[1:]))


def _read_delay(verb: str, words: list[str]) -> Action:
    _exactly(words, 3, "delay 50ms±20ms [a>b] [udp|tcp]", 1)
    middle, _, swing = words[0].replace("+-", "±").partition("±")
    centre, half = seconds(middle), seconds(swing) if swing else 0.0
    if half > centre:
        raise ConfigError(f"a delay of {words[0]} would be negative at times")
    return Disturb(verb, Fault(delay=round(centre - half, 9), jitter=round(2 * half, 9)), scope_of(words[1:]))


def _read_reorder(verb: str, words: list[str]) -> Action:
    _exactly(words, 4, "reorder 10% 50ms [a>b] [udp]", 2)
    return Disturb(verb, Fault(reorder=share(words[0]), reorder_delay=seconds(words[1])), scope_of(words[2:]))


def _read_bandwidth(verb: str, words: list[str]) -> Action:
    _exactly(words, 3, "bandwidth 64KB/s [a>b] [udp|tcp]", 1)
    return Disturb(verb, Fault(bandwidth=rate(words[0])), scope_of(words[1:]))


def _read_cut(verb: str, words: list[str]) -> Action:
    _exactly(words, 2, "cut a>b [udp|tcp]", 1)
    return Disturb(verb, Fault(loss=1.0), scope_of(words))


def _read_partition(verb: str, words: list[str]) -> Action:
    if not words:
        raise ConfigError("write it as: partition a,b [c,d]; members that are not named form one more group")
    return Partition(tuple(check(word) for word in words))


def _read_slow(verb: str, words: list[str]) -> Action:
    _exactly(words, 2, "slow NAME 300ms, or off")
    return Slow(check(words[0]), 0.0 if words[1] == "off" else seconds(words[1]))


def _read_clock(verb: str, words: list[str]) -> Action:
    form = "clock NAME [+5s] [drift 1%], or right"
    _exactly(words, 4, form, 2)
    members, rest = check(words[0]), words[1:]
    if rest == ["right"]:
        return SetClock(members, TRUE_CLOCK)
    drift = offset = 0.0
    if len(rest) >= 2 and rest[-2] == "drift":
        drift = _read_signed(rest[-1], share)
        rest = rest[:-2]
    _exactly(rest, 1, form, 0)
    if rest:
        offset = _read_signed(rest[0], seconds)
    return SetClock(members, Clock(offset, drift).check())


def _read_signed(text: str, read: Callable[[str], float]) -> float:
    return -read(text[1:]) if text.startswith("-") else read(text.removeprefix("+"))


def _read_switch(verb: str, words: list[str]) -> Action:
    _exactly(words, 2, f"{verb} NAME, or {verb} NAME off", 1)
    if words[1:] not in ([], ["off"]):
        raise ConfigError(f"write it as: {verb} NAME, or {verb} NAME off")
    members, on = check(words[0]), not words[1:]
    return DiskFull(members, on) if verb == "disk-full" else Flood(members, on)


def _read_heal(verb: str, words: list[str]) -> Action:
    if not words:
        return Heal()
    if words == ["partition"]:
        return Heal("partition")
    if words[0] not in DISTURBANCES:
        raise ConfigError(
            f"heal has nothing to do with {words[0]}; write partition or one of {', '.join(DISTURBANCES)}"
        )
    return Heal(words[0], scope_of(words[1:]) if words[1:] else None)


def _read_calm(verb: str, words: list[str]) -> Action:
    _exactly(words, 0, "calm")
    return Calm()


def _read_process(verb: str, words: list[str]) -> Action:
    rest = list(words)
    fresh = bool(rest) and verb in STARTING_VERBS and rest[-1] == "fresh" and len(rest) > 1
    if fresh:
        rest.pop()
    via = ""
    if len(rest) == 3 and rest[1] == "via" and verb in STARTING_VERBS:
        via = check(rest.pop())
        rest.pop()
    more = " [via NAME] [fresh]" if verb in STARTING_VERBS else ""
    _exactly(rest, 1, f"{verb} NAME{more}")
    return Process(verb, check(rest[0]), via, fresh)


def _read_join(verb: str, words: list[str]) -> Action:
    _exactly(words, 2, "join NAME NAME")
    return Join(check(words[0]), check(words[1]))


def _read_force_leave(verb: str, words: list[str]) -> Action:
    rest, by = _without_by(words)
    _exactly(rest, 1, f"{verb} NAME [by NAME]")
    return ForceLeave(check(rest[0]), verb == "prune", by)


def _read_event(verb: str, words: list[str]) -> Action:
    rest, by = _without_by(words)
    _exactly(rest, 2, "event WORD [WORD] [by NAME]", 1)
    return SendEvent(rest[0], rest[1] if len(rest) > 1 else "", by)


def _read_query(verb: str, words: list[str]) -> Action:
    rest, by = _without_by(words)
    _exactly(rest, 1, "query WORD [by NAME]")
    return AskQuery(rest[0], by)


def _read_key(verb: str, words: list[str]) -> Action:
    rest, by = _without_by(words)
    form = "key install|use|remove KEY [by NAME], or key list"
    _exactly(rest, 2, form, 1)
    if rest[0] not in KEY_VERBS or (rest[0] == "list") != (len(rest) == 1):
        raise ConfigError(f"write it as: {form}")
    return Keys(rest[0], rest[1] if len(rest) > 1 else "", by)


DISTURBANCES: Final[dict[str, Callable[[str, list[str]], Action]]] = {
    "loss": _read_share,
    "duplicate": _read_share,
    "corrupt": _read_share,
    "delay": _read_delay,
    "reorder": _read_reorder,
    "bandwidth": _read_bandwidth,
    "cut": _read_cut,
}
_READERS: Final[dict[str, Callable[[str, list[str]], Action]]] = {
    **DISTURBANCES,
    **dict.fromkeys(PROCESS_VERBS, _read_process),
    "partition": _read_partition,
    "slow": _read_slow,
    "clock": _read_clock,
    "disk-full": _read_switch,
    "flood": _read_switch,
    "heal": _read_heal,
    "calm": _read_calm,
    "join": _read_join,
    "force-leave": _read_force_leave,
    "prune": _read_force_leave,
    "event": _read_event,
    "query": _read_query,
    "key": _read_key,
}
