"""An agent killed at any moment: what it had written is there, whole, at whatever compaction it was."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from moot.gossip.record import Address
from moot.gossip.serf.snapshot import Restored, replay

pytestmark = pytest.mark.live

MEMBERS = 50
SIZE_MAX = 20_000
"""The file is compacted from here on: after some 400 steps."""
WRITER = f"""
import sys, trio
from pathlib import Path
from moot.gossip.net import snapshotter
from moot.gossip.record import Address
from moot.gossip.serf import snapshot
from moot.gossip.serf.events import MemberChange, MemberEvent
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.swim.member import Member, Status

snapshotter.COMPACT_INTERVAL = 0.0
snapshot.COMPACT_SIZE_MIN = {SIZE_MAX}
snapshot.COMPACT_BYTES_PER_MEMBER = 1

def report(text):
    if "the last line has no end" not in text:
        sys.exit(text)

async def main():
    kept = snapshotter.Snapshotter(Path(sys.argv[1]), rejoin_after_leave=False, report=report)
    await kept.open()
    step = kept.restored.clock
    kept.clocks = lambda: (step + 1, 1, 1)
    while True:
        step += 1
        name, joins = f"n{{step % {MEMBERS}}}", step // {MEMBERS} % 2 == 0
        record = Member(name, Address(bytes((127, 0, 0, 1)), 7946), 1, Status.ALIVE)
        change = MemberChange.JOIN if joins else MemberChange.FAILED
        kept.record(MemberEvent(change, SerfMember(record, MemberStatus.ALIVE)))
        async with kept._lock:
            await kept._save()
        print(step, flush=True)

trio.run(main)
"""
"""Lets members join and fail in turn, the member clock counting the steps; says each step that is written."""


def state_at(step: int) -> tuple[set[str], set[str]]:
    """Who is alive and who has failed after so many steps."""
    joins = {}
    for number in range(max(1, step - MEMBERS + 1), step + 1):
        joins[f"n{number % MEMBERS}"] = number // MEMBERS % 2 == 0
    return {name for name, there in joins.items() if there}, {name for name, there in joins.items() if not there}


def killed_after(path: Path, steps: int) -> int:
    """Run the writer for so many steps and kill it; the last step that it said was written."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = 0
        for _ in range(steps):
            line = process.stdout.readline()
            if not line:
                break
            said = int(line)
        process.kill()
        rest, complaints = process.stdout.read(), process.stderr.read()
    whole = [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    assert complaints == ""
    return int(whole[-1]) if whole else said


def test_nothing_that_was_written_is_lost_whenever_the_agent_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    rng = random.Random(1)
    for _ in range(6):
        said = killed_after(path, rng.randrange(500, 1500))
        restored = replay([path.read_bytes()], rejoin_after_leave=False)
        assert path.stat().st_size < 1.1 * SIZE_MAX
        assert said <= restored.clock <= said + 1
        assert holds(restored, restored.clock) or holds(restored, restored.clock + 1)


def holds(restored: Restored, step: int) -> bool:
    """Whether what was restored is the state after that step."""
    assert {*restored.alive.values(), *restored.failed.values()} == {Address(bytes((127, 0, 0, 1)), 7946)}
    return (set(restored.alive), set(restored.failed)) == state_at(step)
