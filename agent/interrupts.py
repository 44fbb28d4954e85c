"""SIGINT, SIGTERM and SIGHUP as an exception that comes only where the code waits.

Who starts processes must not be interrupted between the start of one and the note about it, nor while it ends
them: that would leave some behind. So a signal that comes at such a moment is kept until the next wait.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """One of the signals came; `number` says which."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.number = number


class Interrupts:
    """What came. Only the first signal counts: a second one must not break into the ending of processes."""

    def __init__(self) -> None:
        self._came: signal.Signals | None = None
        self._told = False
        self._waiting = False

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """The block, which should only wait, ends with Interrupted when a signal comes, or came before."""
        outside, self._waiting = self._waiting, True
        try:
            self._tell()
            yield
        finally:
            self._waiting = outside

    def take(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self._came = self._came or signal.Signals(number)
        if self._waiting:
            self._tell()

    def _tell(self) -> None:
        if self._came is not None and not self._told:
            self._told = True
            raise Interrupted(self._came)


@contextmanager
def caught(after: str = "all that was started is ended") -> Iterator[Interrupts]:
    """The three signals are caught during the block. One that ends it becomes exit code 128 + its number.

    `after` is how things are then, for people.
    SIGHUP stays ignored where it is, as under nohup.
    """
    interrupts = Interrupts()
    before = {
        number: signal.signal(number, interrupts.take)
        for number in STOPPING
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield interrupts
    except Interrupted as interruption:
        click.echo(f"moot: interrupted by {interruption.number.name}; {after}", err=True)
        raise click.exceptions.Exit(128 + interruption.number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
