"""Snapshotter: a snapshot kept on disk while an agent runs. `gossip.serf.snapshot` says what to write.

Lines are gathered and appended every 500 ms. What was appended is safe from a crash of the process at once, from a
crash of the machine when the kernel has written it back, half a minute later at most. Only `leave` and a compacted
file are waited for until they are on disk, as in Serf: each costs the disk's full latency, and what the last lines
said is found out anew from the first member that answers.

After an append that failed nothing more is appended, since it would be glued to half a line. Instead the file is
compacted, for then it says all that is known, at once and then every 30 s until that succeeds.

Deviation: the reference does not start when it cannot read its snapshot. Here the agent goes on without it, says
so, and leaves the file alone: better to be found late than not to run.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from moot.gossip.net.snapshot_file import SnapshotFile
from moot.gossip.serf.snapshot import Recorder, Restored

FLUSH_INTERVAL = 0.5
COMPACT_INTERVAL = 30.0
"""Between attempts to compact the file, at least."""
INLINE_MAX = 64 * 1024
"""Larger appends are left to a thread."""

T = TypeVar("T")


class Snapshotter:
    """One snapshot: `open` it, assign `clocks`, `record` every event while `run` has a task, at last `close` it.

    None of it raises because of the file. What goes wrong is told through `report`, in sentences that name the
    file, a lasting trouble once. Once the file could not be read nothing is ever written to it.
    """

    def __init__(
        self,
        path: Path,
        *,
        rejoin_after_leave: bool,
        report: Callable[[str], None],
        is_full: Callable[[], bool] = lambda: False,
    ) -> None:
        self.restored = Restored()
        """What the file said when it was opened."""
        self.clocks: Callable[[], tuple[int, int, int]] = lambda: (1, 1, 1)
        """What the member, event and query clocks show. To be assigned before the first event."""
        self._path = path
        self._rejoins = rejoin_after_leave
        self._report = report
        self._file = SnapshotFile(path, is_full)
        self._recorder = Recorder()
        self._pending = bytearray()
        self._lock = trio.Lock()
        """Held while the file is used, as that may take a while."""
        self._in_use = False
        self._broken = False
        """Whether lines are missing in the file, and only compacting can mend it."""
        self._compact_wanted = False
        self._tried_at = -math.inf
        self._trouble = ""
        """What was told last of a trouble that lasts."""

    async def open(self) -> None:
        """Read the file, or make it. Fills `restored`."""
        try:
            self.restored = await _in_thread(lambda: self._file.read(rejoin_after_leave=self._rejoins))
            self._recorder = await _in_thread(lambda: Recorder(self.restored))
        except OSError as error:
            self._tell_all(self._file.faults)
            self._tell(f"cannot be read, so nothing is restored and the file is left as it is: {_reason(error)}")
            return
        self._tell_all(self._file.faults)
        self._in_use = True
        self._compact_wanted = self.restored.overruled_leave
        try:
            await _in_thread(lambda: self._file.open(self.restored.torn_size))
        except OSError as error:
            self._fail(error)

    def record(self, event: object) -> None:
        """An event of Serf's happened. Touches no disk."""
        if self._in_use:
            self._pending += self._recorder.record(event, self.clocks()[0])

    async def run(self) -> None:
        """Write every 500 ms what there is, until cancelled."""
        while True:
            await trio.sleep(FLUSH_INTERVAL)
            async with self._lock:
                await self._save()

    async def leave(self) -> None:
        """We leave on purpose, from now on only clocks are recorded. Returns when the disk has it, or refused."""
        async with self._lock:
            if not self._in_use:
                return
            self._note_clocks()
            self._pending += self._recorder.leave()
            self._tried_at = -math.inf
            await self._save()
            if not self._broken:
                try:
                    await _in_thread(self._file.sync)
                except OSError as error:
                    self._fail(error)

    async def end(self) -> None:
        """`close`, once nobody uses the file any more: somebody may be in the middle of a `leave`. Not cancelled."""
        with trio.CancelScope(shield=True):
            async with self._lock:
                self.close()

    def close(self) -> None:
        """Write the rest and let go of the file. To be called when `run` has ended; may take as long as the disk."""
        if not self._in_use:
            return
        self._note_clocks()
        self._in_use = False
        try:
            if self._broken:
                self._file.replace(self._recorder.content())
            else:
                self._file.append(bytes(self._pending))
        except OSError as error:
            self._fail(error)
        self._file.close()

    def _note_clocks(self) -> None:
        self._pending += self._recorder.advance(*self.clocks())

    async def _save(self) -> None:
        """Append what waits, or compact the file if it is broken or has grown too large."""
        self._note_clocks()
        lines = bytes(self._pending)
        self._pending.clear()
        if not self._broken:
            await self._append(lines)
        wanted = self._broken or self._compact_wanted or self._file.size > self._recorder.size_max
        if wanted and trio.current_time() - self._tried_at >= COMPACT_INTERVAL:
            await self._compact()

    async def _append(self, lines: bytes) -> None:
        try:
            if len(lines) <= INLINE_MAX:
                self._file.append(lines)
            else:
                await _in_thread(lambda: self._file.append(lines))
        except OSError as error:
            self._fail(error)

    async def _compact(self) -> None:
        self._tried_at = trio.current_time()
        # what comes in meanwhile is appended to the fresh file afterwards
        content = self._recorder.content()
        try:
            await _in_thread(lambda: self._file.replace(content))
        except OSError as error:
            self._tell_trouble(f"could not be compacted: {_reason(error)}")
            return
        self._broken = self._compact_wanted = False
        if self._trouble:
            self._trouble = ""
            self._tell("is complete again")

    def _fail(self, error: OSError) -> None:
        self._broken = True
        self._tell_trouble(f"could not be written: {_reason(error)}")

    def _tell_trouble(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            self._tell(text)

    def _tell_all(self, texts: list[str]) -> None:
        for text in texts:
            self._tell(text)

    def _tell(self, text: str) -> None:
        self._report(f"snapshot {self._path}: {text}")


async def _in_thread(work: Callable[[], T]) -> T:
    """Let the disk take its time. Not cancelled: what was begun is either done or refused."""
    with trio.CancelScope(shield=True):
        found = await trio.to_thread.run_sync(work)
    return found


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
