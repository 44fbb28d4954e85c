"""LogRing: what a monitor sees of the log."""

import pytest
import trio

from moot.agent.rpc.log_ring import LEVELS, LINES_MAX, LogRing, passes

LINES = [f"2026/01/02 15:04:05 [{level}] agent: x" for level in LEVELS]


@pytest.mark.parametrize("rank", range(len(LEVELS)))
def test_lines_of_a_level_and_above_pass(rank: int) -> None:
    assert [line for line in LINES if passes(line, LEVELS[rank])] == LINES[rank:]


@pytest.mark.parametrize(
    "line", ["no level at all", "an [open bracket", "[ERROR] ours", "[debug] small", "a[0] b", ""]
)
def test_a_line_without_a_known_level_passes_always(line: str) -> None:
    assert passes(line, "ERR")


def test_the_first_word_in_brackets_is_the_level() -> None:
    assert not passes("[DEBUG] about [ERR]", "INFO")


def test_the_last_512_lines_are_remembered_without_their_ends() -> None:
    ring = LogRing()
    for number in range(LINES_MAX + 3):
        ring.write(f"line {number}\n")
    with ring.follow("INFO") as (held, _):
        assert held == [f"line {number}" for number in range(3, LINES_MAX + 3)]


def test_only_one_line_end_is_taken_off() -> None:
    ring = LogRing()
    ring.write("a join error ends in an empty line\n\n")
    with ring.follow("INFO") as (held, _):
        assert held == ["a join error ends in an empty line\n"]


async def test_new_lines_reach_every_reader_from_its_level_up() -> None:
    ring = LogRing()
    with ring.follow("WARN") as (_, warnings), ring.follow("TRACE") as (_, everything):
        for line in LINES:
            ring.write(line)
        assert [everything.receive_nowait() for _ in LINES] == LINES
        assert [warnings.receive_nowait() for _ in LINES[3:]] == LINES[3:]
        with pytest.raises(trio.WouldBlock):
            warnings.receive_nowait()


async def test_a_slow_reader_loses_lines_and_is_told_where() -> None:
    ring = LogRing()
    with ring.follow("INFO") as (_, lines):
        for number in range(LINES_MAX + 5):
            ring.write(f"line {number}")
        assert [lines.receive_nowait() for _ in range(LINES_MAX)][-1] == f"line {LINES_MAX - 1}"
        ring.write("after")
        assert lines.receive_nowait() == "[WARN] agent.ipc: too slow a reader, 5 lines dropped here"
        assert lines.receive_nowait() == "after"


async def test_a_reader_that_is_gone_costs_nothing_more() -> None:
    ring = LogRing()
    with ring.follow("INFO") as (_, lines):
        pass
    ring.write("nobody reads this")
    with pytest.raises(trio.ClosedResourceError):
        lines.receive_nowait()
