"""Log lines: the one place that formats them.

The line form is Nomad's: `2026-11-23T14:58:41.524Z [INFO]  serf: text: key=value`. With JSON each line is an
object with `@level`, `@message`, `@module`, `@timestamp` and the fields. Everything goes to stdout.

Each module may have a level of its own. Warnings and errors of one text are written so often in a minute and no more;
then comes one that says how many were held back, so that nobody can fill a disk by what an agent warns of.
"""

import contextlib
import datetime
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from types import FrameType, MappingProxyType, NoneType
from typing import Any, Final, Protocol, TextIO

if "rich" not in sys.modules:
    # structlog's console renderer, which we do not use, would load Rich: 5 MB and 40 ms for every agent
    sys.modules["rich"] = None  # type: ignore[assignment]  # None is what import takes for "there is none"
    import structlog

    del sys.modules["rich"]
else:
    import structlog

from moot.agent.checks import LEVELS
from moot.agent.text import printable

_PLAIN = (str, int, float, NoneType)
_ESCAPED = frozenset('"\\')
_SPECIAL = _ESCAPED | frozenset(" =")
"""With one of these a value is quoted; before some of them stands a backslash then."""
PLACE = "@caller"
"""Key of an event under which it says where in the code it comes from."""
_RANK = {level: rank for rank, level in enumerate(LEVELS)}
_WARN = _RANK["warn"]
REPEATS_MAX: Final = 64
"""Warnings, or errors, of one module with one text that are written in `REPEATS_WITHIN`."""
REPEATS_WITHIN: Final = 60.0
"""Seconds."""
TEXTS_MAX: Final = 256
"""Texts of which it is known how often they were written; nearly all texts stand in the code, and are fewer."""
HELD_BACK: Final = "held_back"
"""Field of the first line after others like it were held back: how many."""
STRANGERS: Final = frozenset({"nomad.rpc"})
"""Modules in which whoever reaches a port causes lines at INFO, too; they are held back like warnings."""


class Log(Protocol):
    """What the rest of the agent sees of a logger: one method per level, fields as keywords."""

    def trace(self, text: str, /, **fields: object) -> None: ...
    def debug(self, text: str, /, **fields: object) -> None: ...
    def info(self, text: str, /, **fields: object) -> None: ...
    def warn(self, text: str, /, **fields: object) -> None: ...
    def error(self, text: str, /, **fields: object) -> None: ...


class _Lines(structlog.BoundLoggerBase):
    """A structlog logger with the five levels of Nomad's agent; one below the threshold costs little."""

    def _at(self, level: str, text: str, fields: dict[str, object]) -> None:
        sink: Logs = self._context["sink"]
        if sink.copy is not None:
            event = {"sink": sink, "module": self._context["module"], "event": text, **fields}
            sink.copy(_render_text(None, level, _stamp(None, level, event)))
        if sink.followers:
            sink.tell(level, {"module": self._context["module"], "event": text, **fields}, sys._getframe(2))
        rank = _RANK[level]
        if rank < sink.thresholds[self._context["module"]]:
            return
        if rank >= _WARN or self._context["module"] in STRANGERS:
            held_back = sink.repeats.count(f"{self._context['module']}: {text}")
            if held_back is None:
                return
            if held_back:
                fields = {**fields, HELD_BACK: held_back}
        sink.written[level] += 1
        self._proxy_to_logger(level, text, **fields)

    def trace(self, text: str, /, **fields: object) -> None:
        self._at("trace", text, fields)

    def debug(self, text: str, /, **fields: object) -> None:
        self._at("debug", text, fields)

    def info(self, text: str, /, **fields: object) -> None:
        self._at("info", text, fields)

    def warn(self, text: str, /, **fields: object) -> None:
        self._at("warn", text, fields)

    def error(self, text: str, /, **fields: object) -> None:
        self._at("error", text, fields)


class _Output:
    """The end of structlog's chain: one method per level, each writes the finished line.

    An agent outlives the reader of its log, and a full disk: lines that cannot be written are lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(line + "\n")
            self._stream.flush()

    trace = debug = info = warn = error = write


@dataclass(frozen=True, slots=True, eq=False)
class _Follower:
    """Somebody who follows the log from a level on, in one of its forms."""

    sink: Callable[[str], None]
    threshold: int
    as_json: bool
    located: bool


class _Repeats:
    """How often each text was written of late."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def count(self, text: str) -> int | None:
        """One more. How many were held back before it that nobody knows of; None when it is to be held back, too."""
        now = self._clock()
        window = self._windows.get(text)
        if window is None or now - window.begun >= REPEATS_WITHIN:
            self._windows.pop(text, None)
            if len(self._windows) >= TEXTS_MAX:
                del self._windows[next(iter(self._windows))]
            self._windows[text] = _Window(now)
            return 0 if window is None else window.held_back
        if window.count >= REPEATS_MAX:
            window.held_back += 1
            return None
        window.count += 1
        return 0


@dataclass(slots=True)
class _Window:
    begun: float
    count: int = 1
    held_back: int = 0


class _Thresholds(dict[str, int]):
    """Module to the rank from which on its lines are written. A level counts for modules below one, too."""

    def __init__(self, level: str, levels: Mapping[str, str]) -> None:
        super().__init__({module: _RANK[word] for module, word in levels.items()})
        self._default = _RANK[level]

    def __missing__(self, module: str) -> int:
        above, dot, _ = module.rpartition(".")
        self[module] = rank = self[above] if dot else self._default
        return rank


class Logs:
    """Where the log lines of one agent go, and from which level on. Levels may change at any time."""

    def __init__(
        self,
        *,
        level: str,
        as_json: bool,
        stream: TextIO | None = None,
        levels: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.set_level(level, levels or {})
        self.as_json = as_json
        self.written = Counter(dict.fromkeys(LEVELS, 0))
        """Lines by level."""
        self.repeats = _Repeats(clock)
        self.copy: Callable[[str], None] | None = None
        """Gets every line as text, whatever its level; for those who follow the log from elsewhere."""
        self.followers: list[_Follower] = []
        self._output = _Output(stream or sys.stdout)

    def follow(self, sink: Callable[[str], None], *, level: str, as_json: bool, located: bool) -> Callable[[], None]:
        """Hand every line from `level` on to `sink`, until the answer is called; whatever the level of the log.

        `level` is one of `checks.LEVELS`, or any other word for no line. With `located` lines say where in the code
        they come from.
        """
        follower = _Follower(sink, _RANK.get(level, len(_RANK)), as_json, located)
        self.followers.append(follower)

        def unfollow() -> None:
            with contextlib.suppress(ValueError):  # it may be called again
                self.followers.remove(follower)

        return unfollow

    def tell(self, level: str, event: dict[str, Any], caller: FrameType) -> None:
        """A line, for the followers. It is rendered once for each form that anybody wants."""
        made: dict[tuple[bool, bool], str] = {}
        for follower in self.followers:
            if _RANK[level] < follower.threshold:
                continue
            form = (follower.as_json, follower.located)
            if form not in made:
                place = {PLACE: _place(caller)} if follower.located else {}
                render = _render_json if follower.as_json else _render_text
                made[form] = render(None, level, _stamp(None, level, {"sink": self, **event, **place}))
            follower.sink(made[form])

    def set_level(self, level: str, levels: Mapping[str, str] = MappingProxyType({})) -> None:
        """From now on lines from `level` on are written, those of a module of `levels` from its own on.

        Levels are those of `checks.LEVELS`. `agent` stands for `agent.ipc` too, unless that has one itself.
        """
        self.thresholds = _Thresholds(level, levels)

    def write(self, text: str) -> None:
        """Lines for people that are no log lines."""
        self._output.write(text)

    def logger(self, module: str) -> Log:
        """A logger whose lines begin with `module: `."""
        render = _render_json if self.as_json else _render_text
        made: Log = structlog.wrap_logger(
            self._output,
            processors=[_stamp, render],
            wrapper_class=_Lines,
            context_class=dict,
            cache_logger_on_first_use=True,
            module=module,
            sink=self,
        )
        return made


def _stamp(_logger: object, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    now = datetime.datetime.now(datetime.UTC)
    del event["sink"]
    event["timestamp"] = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    event["level"] = level
    return event


def _place(caller: FrameType) -> str:
    """File and line, from the package on."""
    _, _, path = caller.f_code.co_filename.replace("\\", "/").rpartition("/moot/")
    return f"{path}:{caller.f_lineno}"


def _render_text(_logger: object, _level: str, event: MutableMapping[str, Any]) -> str:
    stamp, level, module, text = (event.pop(key) for key in ("timestamp", "level", "module", "event"))
    place = f"{event.pop(PLACE)}: " if PLACE in event else ""
    fields = "".join(f" {key}={_quoted(value)}" for key, value in event.items())
    return f"{stamp} {f'[{level.upper()}]':<7} {place}{module}: {printable(text)}{':' if fields else ''}{fields}"


def _render_json(_logger: object, _level: str, event: MutableMapping[str, Any]) -> str:
    stamp, level, module, text = (event.pop(key) for key in ("timestamp", "level", "module", "event"))
    head = {"@level": level, "@message": text, "@module": module, "@timestamp": stamp}
    fields = {key: value if isinstance(value, _PLAIN) else str(value) for key, value in event.items()}
    return json.dumps({**head, **fields})


def _quoted(value: object) -> str:
    """A value as one word, or quoted as in JSON where it could be taken for anything else.

    Values may come from the network: no quote, blank, `=` or control character of theirs makes another field or
    another line. Other letters than ASCII ones stay as they are.
    """
    text = str(value)
    if text and text.isprintable() and not _SPECIAL.intersection(text):
        return text
    safe = (char if char.isprintable() and char not in _ESCAPED else json.dumps(char)[1:-1] for char in text)
    return f'"{"".join(safe)}"'
