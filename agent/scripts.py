"""One script as a child process: bounded in time and output, and gone as a whole when it has to go.

It runs as `/bin/sh -c SCRIPT` in a session of its own, so that a signal reaches all that it started, and none
of ours reaches it.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping

import trio

from moot.gossip.record import message

OUTPUT_MAX = 8 * 1024
"""Bytes of output that are kept, the last ones, as Serf does."""
SLOW_AFTER = 1.0
END_WITHIN = 2.0
"""Seconds between the request to end and the order."""
LATE_OUTPUT = 0.2
"""Seconds that we go on reading after a script's end, for what its children still write.

Deviation: Serf reads on until all of them have closed the pipe, so that a daemon that a script leaves behind
stops every handler for as long as it lives."""
PAUSE = 0.001
"""Between two reads of output that will not be kept: a script that never stops writing must not keep us busy."""


@message
class Outcome:
    """How a script ended. `code` is its exit status, or minus the signal that ended it.

    `output` is stdout and stderr as they came, the last OUTPUT_MAX bytes of `written_count`.
    """

    code: int
    output: bytes
    written_count: int
    timed_out: bool


class _Tail:
    """The last bytes of a stream."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self.written_count = 0

    async def collect(self, stream: trio.abc.ReceiveStream, ended: trio.Event) -> None:
        async for chunk in stream:
            self.written_count += len(chunk)
            self.kept += chunk
            del self.kept[:-OUTPUT_MAX]
            if self.written_count > OUTPUT_MAX:
                await trio.sleep(PAUSE)
        ended.set()


async def run_script(
    script: str, environment: Mapping[str, str], payload: bytes, within: float, on_slow: Callable[[], None]
) -> Outcome:
    """Run it to its end, `payload` on its stdin. Raises OSError when it cannot be started.

    After `within` seconds, or when this is cancelled, the script and all it started are ended: SIGTERM, and
    SIGKILL for who is left after END_WITHIN. What a script that ended by itself left running is left alone.
    """
    process = await trio.lowlevel.open_process(
        ["/bin/sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    tail, output_ended = _Tail(), trio.Event()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_feed, process.stdin, payload)
            nursery.start_soon(tail.collect, process.stdout, output_ended)
            nursery.start_soon(_warn, on_slow)
            with trio.move_on_after(within) as limit:
                await process.wait()
            if not limit.cancelled_caught:
                with trio.move_on_after(LATE_OUTPUT):
                    await output_ended.wait()
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)
            await process.stdin.aclose()
            await process.stdout.aclose()
    assert process.returncode is not None
    return Outcome(process.returncode, bytes(tail.kept), tail.written_count, limit.cancelled_caught)


async def _feed(stdin: trio.abc.SendStream, payload: bytes) -> None:
    with contextlib.suppress(trio.BrokenResourceError):  # a script need not read what it is told
        await stdin.send_all(payload)
    await stdin.aclose()


async def _warn(on_slow: Callable[[], None]) -> None:
    await trio.sleep(SLOW_AFTER)
    on_slow()


async def _end(process: trio.Process) -> None:
    """End the script's whole group, unless the script has ended by itself.

    Its exit status is collected last: until then the group keeps its number, and no signal hits a stranger.
    """
    if process.returncode is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    with trio.move_on_after(END_WITHIN):
        how = os.WEXITED | os.WNOWAIT
        await trio.to_thread.run_sync(os.waitid, os.P_PID, process.pid, how, abandon_on_cancel=True)
    os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
