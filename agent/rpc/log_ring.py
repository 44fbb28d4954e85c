"""LogRing: the last lines of the agent's log, and the ones to come, for who monitors it over the RPC."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

LINES_MAX: Final = 512
"""Lines that are remembered, and that a reader may lag behind, as Serf has it."""
LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERR")


def passes(line: str, level: str) -> bool:
    """Whether a line is of `level` (one of LEVELS) or above, by its first word in brackets.

    One without brackets, or with another word in them, passes always.
    """
    _, _, rest = line.partition("[")
    word, bracket, _ = rest.partition("]")
    return not bracket or word not in LEVELS[: LEVELS.index(level)]


class _Tail:
    """A reader of lines from a level up."""

    def __init__(self, level: str, channel: trio.MemorySendChannel[str]) -> None:
        self._level = level
        self._channel = channel
        self._lost_count = 0

    def offer(self, line: str) -> None:
        """What the reader is too slow for is lost, and told in its place as soon as there is room again."""
        if not passes(line, self._level):
            return
        try:
            if self._lost_count:
                self._channel.send_nowait(
                    f"[WARN] agent.ipc: too slow a reader, {self._lost_count} lines dropped here"
                )
                self._lost_count = 0
            self._channel.send_nowait(line)
        except trio.WouldBlock:
            self._lost_count += 1


class LogRing:
    """Whoever writes the log writes here, too; a reader that is too slow loses lines and holds nobody up."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._tails: list[_Tail] = []

    def write(self, line: str) -> None:
        """A line of the log, with or without its line end."""
        line = line.removesuffix("\n")
        self._lines.append(line)
        for tail in self._tails:
            tail.offer(line)

    @contextmanager
    def follow(self, level: str) -> Iterator[tuple[Sequence[str], trio.MemoryReceiveChannel[str]]]:
        """Read the log from this level (one of LEVELS) up: what is remembered, and a channel of what comes.

        The channel is closed when the block ends.
        """
        send, receive = trio.open_memory_channel[str](LINES_MAX)
        tail = _Tail(level, send)
        self._tails.append(tail)
        try:
            yield [line for line in self._lines if passes(line, level)], receive
        finally:
            self._tails.remove(tail)
            send.close()
            receive.close()
