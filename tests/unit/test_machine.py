"""Figures of the machine."""

from pathlib import Path

from moot.agent.machine import Machine

MEMINFO = "MemTotal: 1000 kB\nMemFree:  200 kB\nMemAvailable: 400 kB\nBuffers: 1 kB\n"


def test_memory_is_in_bytes_and_used_is_what_is_not_available(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    found = Machine(tmp_path)()
    assert found == {
        "memory.total": 1024_000.0,
        "memory.free": 204_800.0,
        "memory.available": 409_600.0,
        "memory.used": 614_400.0,
    }


def test_processors_are_shares_of_the_time_since_the_last_look(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1 1 1\n")
    look = Machine(tmp_path)
    assert look()["cpu.idle_percent"] == 80.0
    stat.write_text("cpu  110 10 120 860 0 0 0 0 0 0\n")
    assert look() == {
        "cpu.user_percent": 20.0,
        "cpu.system_percent": 20.0,
        "cpu.idle_percent": 60.0,
        "cpu.total_percent": 40.0,
    }
    assert look() == {}  # no time has passed


def test_what_the_kernel_does_not_tell_is_not_there(tmp_path: Path) -> None:
    assert Machine(tmp_path)() == {}


def test_this_machine_has_figures() -> None:
    found = Machine()()
    assert 0 < found["memory.used"] < found["memory.total"]
    assert 0 <= found["cpu.total_percent"] <= 100
