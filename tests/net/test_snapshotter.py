"""The snapshot on disk: what is in the file when, and that nothing which happens to the file hurts the agent."""

import errno
import os
import resource
import stat
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from moot.gossip.net import snapshot_file, snapshotter
from moot.gossip.net.snapshotter import COMPACT_INTERVAL, FLUSH_INTERVAL, Snapshotter
from moot.gossip.record import Address
from moot.gossip.serf import snapshot
from moot.gossip.serf.events import GivenUp, MemberChange, MemberEvent
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.snapshot import Restored, replay
from tests.support.pool import until
from tests.support.swim import member

T = TypeVar("T")
TICK = 1.1 * FLUSH_INTERVAL
"""After so long what was recorded has been written."""
HERE = Address(bytes((127, 0, 0, 1)), 7946)


def changed(change: MemberChange, name: str) -> MemberEvent:
    return MemberEvent(change, SerfMember(member(name, at=HERE), MemberStatus.ALIVE))


def joined(name: str) -> MemberEvent:
    return changed(MemberChange.JOIN, name)


class Kept:
    """A snapshotter on a file of its own, what it told, and what is in the file."""

    def __init__(self, path: Path, *, rejoin: bool = False) -> None:
        self.path = path
        self.rejoin = rejoin
        self.told: list[str] = []
        self.clocks = (1, 1, 1)
        self.begin()

    def begin(self) -> None:
        """As after a restart."""
        self.snapshotter = Snapshotter(self.path, rejoin_after_leave=self.rejoin, report=self.told.append)
        self.snapshotter.clocks = lambda: self.clocks

    def record(self, *events: object) -> None:
        for event in events:
            self.snapshotter.record(event)

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def says(self) -> Restored:
        return replay([self.path.read_bytes()], rejoin_after_leave=self.rejoin)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "snapshot")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """Virtual time, and a disk that takes none: a thread would be overtaken by the clock."""

    async def in_place(work: Callable[[], T]) -> T:
        return work()

    monkeypatch.setattr(snapshotter, "_in_thread", in_place)
    return MockClock(autojump_threshold=0.0)


async def running(kept: Kept, body: Callable[[], Awaitable[None]]) -> None:
    """Open the snapshot and do something while it runs."""
    await kept.snapshotter.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.snapshotter.run)
        await body()
        nursery.cancel_scope.cancel()


@contextmanager
def disk_full_at(size: int) -> Iterator[None]:
    """No file of this process can grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# from start to end


async def test_a_file_is_made_that_not_everybody_may_write(kept: Kept) -> None:
    before = os.umask(0)
    try:
        await kept.snapshotter.open()
    finally:
        os.umask(before)
    assert kept.path.read_bytes() == b""
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o644
    assert kept.snapshotter.restored == Restored()
    assert kept.told == []
    kept.snapshotter.close()


async def test_what_was_recorded_is_restored_after_a_restart(kept: Kept) -> None:
    await kept.snapshotter.open()
    kept.record(joined("a"), joined("b"), changed(MemberChange.FAILED, "b"))
    kept.clocks = (5, 6, 7)
    kept.snapshotter.close()
    kept.begin()
    await kept.snapshotter.open()
    expected = Restored(alive={"a": HERE}, failed={"b": HERE}, clock=4, event_clock=5, query_clock=6)
    assert kept.snapshotter.restored == expected
    kept.record(GivenUp("b"))
    kept.snapshotter.close()
    assert kept.lines[-1] == "not-alive: b"
    assert kept.told == []


async def test_lines_and_clocks_are_in_the_file_after_half_a_second(kept: Kept, at_once: MockClock) -> None:
    async def body() -> None:
        await trio.sleep(0.1)
        kept.record(joined("a"))
        assert kept.lines == []
        kept.clocks = (3, 1, 1)
        await trio.sleep(TICK)
        assert kept.lines == ["alive: a 127.0.0.1:7946", "clock: 2"]
        written = kept.path.stat().st_mtime_ns
        await trio.sleep(10 * TICK)
        assert kept.path.stat().st_mtime_ns == written
        kept.clocks = (3, 4, 5)
        await trio.sleep(TICK)
        assert kept.lines[2:] == ["event-clock: 3", "query-clock: 4"]

    await running(kept, body)


async def test_a_leave_is_on_disk_when_it_returns_and_only_the_clock_follows(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, at_once: MockClock
) -> None:
    synced: list[bytes] = []
    sync = os.fsync

    def noted(handle: int) -> None:
        sync(handle)
        synced.append(kept.path.read_bytes())

    monkeypatch.setattr(os, "fsync", noted)

    async def body() -> None:
        kept.record(joined("a"))
        kept.clocks = (2, 1, 1)
        await kept.snapshotter.leave()
        assert synced == [b"alive: a 127.0.0.1:7946\nclock: 1\nleave\n"]
        kept.record(joined("b"))
        kept.clocks = (3, 9, 9)
        await trio.sleep(TICK)
        assert kept.lines[3:] == ["clock: 2"]

    await running(kept, body)
    kept.snapshotter.close()
    assert len(kept.lines) == 4


async def test_a_leave_that_is_overruled_does_not_count_some_other_time(kept: Kept) -> None:
    kept.path.write_text("alive: a 127.0.0.1:7946\nleave\n")
    kept.rejoin = True
    kept.begin()

    async def body() -> None:
        assert kept.snapshotter.restored.alive == {"a": HERE}
        await until(lambda: "leave" not in kept.lines)

    await running(kept, body)
    kept.rejoin = False
    assert kept.says().alive == {"a": HERE}


# what may be in the file


async def test_a_torn_last_line_is_cut_off_before_anything_is_appended(kept: Kept) -> None:
    kept.path.write_bytes(b"alive: a 127.0.0.1:7946\nalive: b 127.0.0.2:79")
    await kept.snapshotter.open()
    kept.record(joined("c"))
    kept.snapshotter.close()
    assert kept.lines == ["alive: a 127.0.0.1:7946", "alive: c 127.0.0.1:7946"]
    assert kept.told == [f"snapshot {kept.path}: the last line has no end, as after a crash; it is left out"]


async def test_garbage_is_told_and_the_rest_is_used(kept: Kept) -> None:
    kept.path.write_bytes(b"clock: 3\n\x00\xff\x1b garbage\nalive: a 127.0.0.1:7946\n")
    await kept.snapshotter.open()
    assert kept.snapshotter.restored.alive == {"a": HERE}
    assert kept.snapshotter.restored.clock == 3
    (told,) = kept.told
    assert "line 2 is left out, not a line of a snapshot: '\\x00\\xff\\x1b garbage'" in told
    kept.snapshotter.close()


async def test_of_a_monstrous_file_the_end_is_read_and_it_is_compacted(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_file, "READ_MAX", 256 * 1024)
    with kept.path.open("wb") as file:
        file.write(b"alive: old 127.0.0.1:7946\n")
        file.truncate(2**30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nalive: a 127.0.0.1:7946\n")

    async def body() -> None:
        assert kept.snapshotter.restored.alive == {"a": HERE}
        assert "of which only the last 262144 were read" in kept.told[0]
        await until(lambda: kept.path.stat().st_size < 1000)

    await running(kept, body)
    assert kept.says().alive == {"a": HERE}


async def test_what_a_real_agent_left_when_it_crashed_while_compacting_is_taken(kept: Kept) -> None:
    # it removes the old file before it renames the fresh one
    kept.path.with_name("snapshot.compact").write_text("alive: a 127.0.0.1:7946\n")
    await kept.snapshotter.open()
    kept.snapshotter.close()
    assert kept.snapshotter.restored.alive == {"a": HERE}
    assert kept.lines == ["alive: a 127.0.0.1:7946"]
    assert kept.told == [f"snapshot {kept.path}: was missing; snapshot.compact, left by a crash, is taken for it"]


async def test_a_fresh_file_that_was_not_finished_is_not_taken(kept: Kept) -> None:
    kept.path.write_text("alive: a 127.0.0.1:7946\n")
    kept.path.with_name("snapshot.compact").write_text("alive: b 127")
    await kept.snapshotter.open()
    kept.snapshotter.close()
    assert kept.snapshotter.restored.alive == {"a": HERE}
    assert kept.told == []


# files that cannot be used


async def unusable(kept: Kept, why: str) -> None:
    """Nothing is restored, that is told, and nothing is ever written."""

    async def body() -> None:
        kept.record(joined("a"))
        kept.record(GivenUp("a"))
        await kept.snapshotter.leave()
        await trio.sleep(2 * TICK)

    await running(kept, body)
    kept.snapshotter.close()
    assert kept.snapshotter.restored == Restored()
    assert kept.told == [
        f"snapshot {kept.path}: cannot be read, so nothing is restored and the file is left as it is: {why}"
    ]


async def test_a_folder_or_a_pipe_is_no_snapshot(tmp_path: Path, at_once: MockClock) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        await unusable(Kept(path), "not a regular file")


async def test_a_file_that_cannot_be_read_is_left_alone(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, at_once: MockClock
) -> None:
    content = b"alive: a 127.0.0.1:7946\n" * 10_000
    kept.path.write_bytes(content)
    read = os.read
    reads: list[int] = []

    def failing(handle: int, size: int) -> bytes:
        reads.append(size)
        if len(reads) > 1:
            raise OSError(errno.EIO, "Input/output error")
        return read(handle, size)

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", failing)
        await kept.snapshotter.open()
    monkeypatch.setattr(kept.snapshotter, "open", trio.lowlevel.checkpoint)
    await unusable(kept, "Input/output error")
    assert kept.path.read_bytes() == content


async def test_a_folder_that_is_missing_is_told_once_and_used_when_it_is_there(
    tmp_path: Path, at_once: MockClock
) -> None:
    kept = Kept(tmp_path / "missing" / "snapshot")

    async def body() -> None:
        kept.record(joined("a"))
        await trio.sleep(10 * COMPACT_INTERVAL)
        assert [told.rpartition("snapshot: ")[2] for told in kept.told] == [
            "could not be written: No such file or directory",
            "could not be compacted: No such file or directory",
        ]
        kept.path.parent.mkdir()
        await trio.sleep(COMPACT_INTERVAL + TICK)
        assert kept.says().alive == {"a": HERE}
        assert kept.told[2:] == [f"snapshot {kept.path}: is complete again"]

    await running(kept, body)


# compaction


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are compacted from 1,000 bytes on."""
    monkeypatch.setattr(snapshot, "COMPACT_SIZE_MIN", 1000)


def flapping(count: int) -> list[MemberEvent]:
    """A member that comes and goes, and is there in the end."""
    return [changed(change, "a") for change in (MemberChange.FAILED, MemberChange.JOIN) for _ in range(count)]


@pytest.mark.usefixtures("small")
async def test_a_file_that_grew_is_replaced_and_written_on(kept: Kept, at_once: MockClock) -> None:
    kept.path.touch(0o640)

    async def body() -> None:
        kept.record(joined("b"), *flapping(20))
        await trio.sleep(TICK)
        assert kept.lines == [
            "alive: b 127.0.0.1:7946",
            "alive: a 127.0.0.1:7946",
            "clock: 0",
            "event-clock: 0",
            "query-clock: 0",
        ]
        kept.record(joined("c"))
        await trio.sleep(TICK)
        assert kept.lines[5:] == ["alive: c 127.0.0.1:7946"]

    await running(kept, body)
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o640
    assert os.listdir(kept.path.parent) == ["snapshot"]
    assert kept.told == []


@pytest.mark.usefixtures("small")
async def test_a_file_made_by_serf_loses_modes_that_it_should_not_have(kept: Kept, at_once: MockClock) -> None:
    kept.path.touch()
    kept.path.chmod(0o757)

    async def body() -> None:
        kept.record(*flapping(20))
        await trio.sleep(TICK)

    await running(kept, body)
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o644


@pytest.mark.usefixtures("small")
async def test_a_link_stays_a_link(kept: Kept, at_once: MockClock) -> None:
    real = kept.path.with_name("real")
    kept.path.symlink_to(real)

    async def body() -> None:
        kept.record(*flapping(20))
        await trio.sleep(TICK)

    await running(kept, body)
    assert kept.path.is_symlink()
    assert list(replay([real.read_bytes()], rejoin_after_leave=False).alive) == ["a"]
    assert len(kept.lines) == 4


@pytest.mark.usefixtures("small")
async def test_where_it_cannot_be_compacted_a_file_grows_on_and_that_is_told_once(
    kept: Kept, at_once: MockClock
) -> None:
    kept.path.with_name("snapshot.compact").mkdir()

    async def body() -> None:
        for _ in range(4):
            kept.record(*flapping(20))
            await trio.sleep(COMPACT_INTERVAL)
        assert len(kept.lines) > 4 * 40
        (told,) = kept.told
        assert "could not be compacted: Is a directory" in told
        kept.path.with_name("snapshot.compact").rmdir()
        await trio.sleep(COMPACT_INTERVAL + TICK)
        assert kept.lines[0] == "alive: a 127.0.0.1:7946"
        assert kept.told[1:] == [f"snapshot {kept.path}: is complete again"]

    await running(kept, body)


def slow_disk(monkeypatch: pytest.MonkeyPatch) -> tuple[trio.Event, threading.Event]:
    """From now on the disk is busy until the second event. The first tells that it has been asked."""
    begun, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()
    sync = os.fsync

    def slow(handle: int) -> None:
        token.run_sync_soon(begun.set)
        assert go_on.wait(30)
        sync(handle)

    monkeypatch.setattr(os, "fsync", slow)
    return begun, go_on


@pytest.mark.usefixtures("small")
async def test_a_slow_disk_holds_up_nobody_and_what_happens_meanwhile_is_kept(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = slow_disk(monkeypatch)

    async def body() -> None:
        kept.record(*flapping(20))
        with trio.fail_after(30):
            await begun.wait()
        # the loop runs on while the disk is busy
        kept.record(joined("b"), changed(MemberChange.FAILED, "a"))
        await trio.sleep(3 * TICK)
        go_on.set()
        await until(lambda: "b" in kept.says().alive)
        assert kept.lines[4:6] == ["alive: b 127.0.0.1:7946", "not-alive: a"]

    await running(kept, body)
    assert kept.says() == Restored(alive={"b": HERE}, failed={"a": HERE})


async def test_an_end_waits_for_a_leave_that_the_disk_is_still_busy_with(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept.snapshotter.open()
    kept.record(joined("a"))
    begun, go_on = slow_disk(monkeypatch)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.snapshotter.leave)
            await begun.wait()
            # one that ends, and one that finds it ended
            nursery.start_soon(kept.snapshotter.end)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(kept.snapshotter.leave)
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
    assert kept.lines == ["alive: a 127.0.0.1:7946", "leave"]
    assert kept.told == []


async def test_a_large_burst_is_written_whole(kept: Kept) -> None:
    async def body() -> None:
        kept.record(*(joined(f"member-{number}") for number in range(5000)))
        await until(lambda: len(kept.lines) == 5000)

    await running(kept, body)
    assert len(kept.says().alive) == 5000


# a disk that fills up


async def test_a_full_disk_loses_nothing_that_was_flushed_and_is_made_up_for_later(
    kept: Kept, at_once: MockClock
) -> None:
    async def body() -> None:
        kept.record(*(joined(f"m{number}") for number in range(10)))
        await trio.sleep(TICK)
        flushed = kept.path.read_bytes()
        with disk_full_at(len(flushed) + 10):
            kept.record(joined("late"), changed(MemberChange.FAILED, "m1"))
            await trio.sleep(TICK)
            assert kept.path.read_bytes() == flushed + b"alive: lat"
            kept.record(joined("later"))
            await trio.sleep(3 * COMPACT_INTERVAL)
            # nothing is glued to the torn line, and an agent that is killed now restores what was flushed
            assert kept.path.read_bytes() == flushed + b"alive: lat"
            assert list(kept.says().alive) == [f"m{number}" for number in range(10)]
            assert os.listdir(kept.path.parent) == ["snapshot"]
        assert [told.rpartition("snapshot: ")[2] for told in kept.told] == [
            "could not be written: File too large",
            "could not be compacted: File too large",
        ]
        await trio.sleep(COMPACT_INTERVAL)
        assert kept.told[2:] == [f"snapshot {kept.path}: is complete again"]
        kept.record(joined("last"))
        await trio.sleep(TICK)

    await running(kept, body)
    restored = kept.says()
    assert list(restored.alive) == ["m0", *(f"m{number}" for number in range(2, 10)), "late", "later", "last"]
    assert restored.failed == {"m1": HERE}
    assert restored.complaints == []


async def test_after_a_failure_compaction_is_tried_every_30_seconds(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, at_once: MockClock
) -> None:
    tried: list[float] = []

    def full(*args: object) -> None:
        tried.append(trio.current_time())
        raise OSError(errno.ENOSPC, "No space left on device")

    async def body() -> None:
        monkeypatch.setattr(snapshot_file, "_write_all", full)
        kept.record(joined("a"))
        await trio.sleep(TICK)
        assert len(tried) == 2
        for _ in range(3):
            tried.clear()
            await trio.sleep(COMPACT_INTERVAL)
            assert len(tried) == 1
        # a leave does not wait for its turn
        tried.clear()
        await kept.snapshotter.leave()
        assert len(tried) == 1
        monkeypatch.undo()

    await running(kept, body)
    kept.snapshotter.close()
    assert kept.lines[-1] == "leave"


async def test_what_is_missing_in_a_broken_file_is_written_at_the_end(kept: Kept, at_once: MockClock) -> None:
    async def body() -> None:
        with disk_full_at(10):
            kept.record(joined("a"))
            await trio.sleep(TICK)

    await running(kept, body)
    kept.snapshotter.close()
    assert kept.says() == Restored(alive={"a": HERE})


async def test_a_disk_that_is_full_to_the_end_is_told_and_the_end_comes(kept: Kept, at_once: MockClock) -> None:
    await kept.snapshotter.open()
    kept.record(joined("a"))
    with disk_full_at(10):
        await kept.snapshotter.leave()
        kept.snapshotter.close()
    assert kept.path.read_bytes() == b"alive: a 1"
    assert [told.rpartition("snapshot: ")[2] for told in kept.told] == [
        "could not be written: File too large",
        "could not be compacted: File too large",
        "could not be written: File too large",
    ]


async def test_a_disk_that_refuses_to_sync_a_leave_is_told(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    await kept.snapshotter.open()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        await kept.snapshotter.leave()
    assert kept.told == [f"snapshot {kept.path}: could not be written: Input/output error"]
    kept.snapshotter.close()
    assert kept.lines[-1] == "leave"


async def test_closing_twice_or_unopened_does_no_harm(kept: Kept) -> None:
    kept.snapshotter.close()
    assert not kept.path.exists()
    await kept.snapshotter.open()
    kept.snapshotter.close()
    kept.snapshotter.close()
    kept.record(joined("a"))
    await kept.snapshotter.leave()
    assert kept.lines == []
