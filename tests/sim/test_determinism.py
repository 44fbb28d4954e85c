"""One seed, one history: in every process, whatever the hash seed, as objects or as bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from moot.gossip.faults import Fault
from moot.gossip.sim import SimCluster

ROOT = Path(__file__).resolve().parents[2]


def story(seed: int, *, wire: bool = False, keys: tuple[bytes, ...] = ()) -> str:
    """A few minutes with a bit of everything; answers the digest."""
    cluster = SimCluster(12, seed=seed, wire=wire, keys=keys)
    cluster.boot_cold()
    cluster.run_for(5)
    cluster.conditions.put("mess", Fault(loss=0.1, duplicate=0.1, jitter=0.02))
    cluster.run_for(20)
    cluster.crash("n03")
    cluster.partition({"n00", "n01", "n02", "n04"})
    cluster.run_for(40)
    cluster.heal()
    cluster.pause("n06")
    cluster.run_for(20)
    cluster.resume("n06")
    cluster.restart("n03", ["n00"])
    cluster.run_for(5)
    cluster.leave("n04")
    cluster.crash("n05")
    cluster.run_for(20)
    cluster.force_leave("n00", "n05", prune=True)
    cluster.run_for(40)
    return cluster.digest()


def test_three_processes_with_different_hash_seeds_tell_one_story() -> None:
    digests = set()
    for hash_seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", "from tests.sim.test_determinism import story; print(story(1))"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout.strip())
    assert digests == {story(1)}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_objects_and_bytes_tell_one_story(seed: int) -> None:
    assert story(seed) == story(seed, wire=True)


def test_encryption_does_not_change_the_story() -> None:
    key = bytes(range(16))
    assert story(1, keys=(key,)) == story(1, wire=True, keys=(key,))


def test_another_seed_tells_another_story() -> None:
    assert story(1) != story(2)
