"""What people see on a terminal: colours, live views, Ctrl-C."""

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import MOOT, PATIENCE, moot, pool, running

pytestmark = pytest.mark.live
RED, GREEN = "\x1b[31m", "\x1b[32m"


class Terminal:
    """One command on a terminal of its own; `screen` is all that it has printed."""

    def __init__(self, process: "subprocess.Popen[bytes]", fd: int) -> None:
        self.process = process
        self._fd = fd
        self.screen = ""

    def read_until(self, words: str) -> None:
        """Read on until the words are there; the test fails when they do not come."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.screen:
            assert time.monotonic() < deadline, f"{words!r} is not on the screen:\n{self.screen}"
            self._read()

    def finish(self) -> int:
        """Read to the end; the exit code."""
        while self.process.poll() is None:
            self._read()
        self._read()
        return self.process.returncode

    def press(self, key: bytes) -> None:
        os.write(self._fd, key)

    def _read(self) -> None:
        if select.select([self._fd], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # Linux says so when the other side is closed
                self.screen += os.read(self._fd, 65536).decode()


@contextlib.contextmanager
def on_terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    """`moot` as the foreground job of a terminal that is 120 columns wide."""
    master, slave = pty.openpty()
    variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **environment}
    # a session of its own with the terminal as its controlling one, so that Ctrl-C works as for a person
    command = ["setsid", "--ctty", "--wait", *MOOT, *arguments]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=variables)
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_a_table_has_colours_on_a_terminal_and_none_with_no_color() -> None:
    with pool(1) as (agent,):
        with on_terminal("members", "--address", agent.url) as terminal:
            assert terminal.finish() == 0
            assert GREEN + "alive" in terminal.screen
        with on_terminal("members", "--address", agent.url, NO_COLOR="1") as terminal:
            assert terminal.finish() == 0
            assert "alive" in terminal.screen
            assert GREEN not in terminal.screen


def test_a_watched_table_redraws_and_ctrl_c_ends_it() -> None:
    with pool(2) as (first, second):
        with on_terminal("members", "--watch", "--address", first.url) as terminal:
            terminal.read_until("sees 2 alive")
            second.process.kill()
            terminal.read_until(RED + "failed")
            terminal.press(b"\x03")
            assert terminal.finish() == 130
        assert "Traceback" not in terminal.screen


def test_ctrl_c_on_a_live_cluster_ends_all_agents_cleanly(tmp_path: Path) -> None:
    with on_terminal("cluster", "up", "2", "--name", "t", XDG_RUNTIME_DIR=str(tmp_path)) as terminal:
        terminal.read_until("Ctrl-C ends the cluster")
        pids = [int(pid) for pid in re.findall(r"http://\S+ +(\d+)", terminal.screen)]
        assert len(set(pids)) == 2
        assert all(map(running, pids))
        moot("chaos", "slow", "1", "1ms", "--name", "t", XDG_RUNTIME_DIR=str(tmp_path))
        terminal.read_until("faults: slow t-1 1ms")
        with on_terminal("cluster", "views", "--watch", "--name", "t", XDG_RUNTIME_DIR=str(tmp_path)) as watched:
            watched.read_until("all 2 that answer see the same")
            watched.read_until(GREEN + "+")
            watched.press(b"\x03")
            assert watched.finish() == 130
            assert "Traceback" not in watched.screen
        terminal.press(b"\x03")
        assert terminal.finish() == 0
        assert "ending 2 agents" in terminal.screen
    assert not any(map(running, pids))
    assert moot("cluster", "status", XDG_RUNTIME_DIR=str(tmp_path)).stdout.startswith("no cluster is running")
