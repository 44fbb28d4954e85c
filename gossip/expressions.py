"""Regular expressions as Go understands them: tag filters of queries, and member filters of the client RPC.

Serf compiles these with Go's regexp package, which is RE2's syntax and RE2's promise: time linear in
expression times text. Python's own `re` has another syntax and can take exponential time, so the engine here
is RE2 itself (google-re2). An expression from a peer is bounded three times: in length, in the memory of its
program (which bounds what one search may cost), and in how many are kept compiled. How much all searches may
cost together is for `serf.queries` to say.

Where RE2 and Go's package differ, and what happens here:

- `\\C` (any single byte) is RE2's only: refused, as Go does.
- A byte that is no UTF-8 matches `.` in Go and nothing in RE2: such bytes in the searched text are read as
  U+FFFD each, as Go reads them. In an expression they are refused by both.
- `(?<name>x)` is taken; Go takes it since 1.22 only. `(?P<name>x)` is taken by both; Go wants the name in ASCII.
- An expression whose program outgrows `MEMORY_MAX` is refused: `\\pL{100}` is, which Go takes.
- More than 1000 nested groups, and a repetition count of nine digits or more, are refused by Go; RE2 takes the
  former, and the latter as plain text. `\\x{D800}` and its like stand for U+FFFD in Go and for nothing in RE2.
- `$` without `(?m)` is the very end of the text in both, `\\z` is known to both and `\\Z` to neither; `.` does
  not match a newline; `\\b`, `\\d`, `\\s`, `\\w` are about ASCII; classes of Unicode (`\\pN`, `\\p{Greek}`) work.

A test asks a real serf agent about all of these.
"""

import functools
import re
from typing import Protocol

import re2

from moot.gossip.errors import GossipError

LENGTH_MAX = 4096
"""Bytes of an expression. A query as a whole has 1024, so that this only meets what local clients ask."""
MEMORY_MAX = 256 * 1024
"""Bytes of one compiled expression, twice that at the most while it is made. A program of this size is some
10,000 steps, a search in a tag of 512 bytes then costs 35 ms in the worst case that we could construct."""
MAKING = 16
"""To make an expression takes as long as to search so many bytes with it."""
REFUSED_EFFORT = 1_000_000
"""Steps that it takes at most to find out that an expression is none, or too large."""
KEPT_MAX = 64
"""How many compiled expressions are kept."""

_NO_UTF8 = re.compile("[\ud800-\udfff]")
_TOKEN = re.compile(rb"\\Q.*?(?:\\E|\Z)|\\.", re.DOTALL)
"""What a backslash introduces; between \\Q and \\E a backslash means itself."""


class ExpressionError(GossipError):
    """An expression that is none, or that would cost too much. The text says why; it may quote the expression."""


class _Program(Protocol):
    @property
    def programsize(self) -> int: ...

    def search(self, text: bytes, /) -> object | None: ...


class Expression:
    """A compiled expression; made by `compile`."""

    __slots__ = ("_program", "text")

    def __init__(self, text: str, program: _Program) -> None:
        self.text = text
        self._program = program

    def search(self, text: str) -> bool:
        """Whether it matches anywhere in `text`; it has to say `^…$` itself when it means the whole."""
        return self._program.search(_NO_UTF8.sub("\ufffd", text).encode()) is not None

    def effort(self, text: str) -> int:
        """Steps that making it and searching `text` once take at most; a million of them last 3 ms."""
        return 2 * self._program.programsize * (MAKING + len(text))


def compile(text: str) -> Expression:  # noqa: A001 - used as expressions.compile
    """Raises ExpressionError. The most recently used ones, good or bad, are not compiled again."""
    made = _compiled(text)
    if isinstance(made, str):
        raise ExpressionError(made)
    return made


@functools.lru_cache(KEPT_MAX)
def _compiled(text: str) -> Expression | str:
    """The expression, or what is wrong with it."""
    try:
        encoded = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return "invalid UTF-8"
    if len(encoded) > LENGTH_MAX:
        return f"expression is longer than {LENGTH_MAX} bytes"
    if rb"\C" in _TOKEN.findall(encoded):
        return r"invalid escape sequence: \C"
    options = re2.Options()
    options.max_mem = MEMORY_MAX
    options.log_errors = False
    options.never_capture = True
    try:
        return Expression(text, re2.compile(encoded, options))
    except re2.error as error:
        reason = error.args[0]
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
