"""One seed, one history: in every process, whatever the hash seed and the Python, as objects or as bytes.

Interpreters that have the engine's libraries are taken from PATH and from MOOT_PYTHONS, a list like PATH.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moot.gossip.faults import Fault
from moot.gossip.sim import SimCluster, library
from moot.gossip.sim.lab import run

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


SCENARIOS = ("monkey", "key-rotation", "one-name-twice", "snapshot-in-outage", "hostile-peer-plain")
"""Between them they have all faults, keys, snapshots, names and claims that are forged."""
TELL = (
    "from moot.gossip.sim import library\n"
    "from moot.gossip.sim.lab import run\n"
    f"print([run(library.scenario(name), 4, wire=WIRE).digest for name in {SCENARIOS}])"
)


def told(program: str, hash_seed: str, python: str = sys.executable) -> str:
    done = subprocess.run(
        [python, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def pythons() -> Iterator[str]:
    """Other interpreters that can run the engine."""
    named = [found for name in ("python3.11", "python3.12", "python3.13") if (found := shutil.which(name))]
    for python in dict.fromkeys([*named, *filter(None, os.environ.get("MOOT_PYTHONS", "").split(os.pathsep))]):
        has_libraries = [python, "-c", "import msgpack, cryptography, re2"]
        if subprocess.run(has_libraries, capture_output=True, check=False).returncode == 0:
            yield python


def test_three_processes_with_different_hash_seeds_tell_one_story() -> None:
    program = "from tests.sim.test_determinism import story; print(story(1))"
    assert {told(program, hash_seed) for hash_seed in ("0", "1", "4242")} == {story(1)}


def test_scenarios_have_one_digest_in_every_process_python_and_form() -> None:
    here = str([run(library.scenario(name), 4).digest for name in SCENARIOS])
    found = {told(TELL.replace("WIRE", "True"), "0"), told(TELL.replace("WIRE", "False"), "77")}
    found |= {told(TELL.replace("WIRE", "False"), "1", python) for python in pythons()}
    assert found == {here}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_objects_and_bytes_tell_one_story(seed: int) -> None:
    assert story(seed) == story(seed, wire=True)


def test_encryption_does_not_change_the_story() -> None:
    key = bytes(range(16))
    assert story(1, keys=(key,)) == story(1, wire=True, keys=(key,))


def test_another_seed_tells_another_story() -> None:
    assert story(1) != story(2)
