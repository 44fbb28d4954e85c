"""Signals come where the code waits, once, and become exit codes."""

import os
import signal
import time
from collections.abc import Iterator

import click
import pytest

from moot.agent.interrupts import STOPPING, Interrupted, caught


@pytest.fixture(autouse=True)
def handlers_stay() -> Iterator[None]:
    """Whatever happens in a test, the handlers afterwards are those before."""
    before = [signal.getsignal(number) for number in STOPPING]
    yield
    assert [signal.getsignal(number) for number in STOPPING] == before


def send(number: signal.Signals) -> None:
    """To ourselves. The handler has run when this returns."""
    os.kill(os.getpid(), number)
    time.sleep(0)


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_while_waiting_comes_at_once_and_is_the_exit_code(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(click.exceptions.Exit) as ended, caught() as interrupts, interrupts.allowed():
        send(number)
    assert ended.value.exit_code == 128 + number
    assert capsys.readouterr().err == f"moot: interrupted by {number.name}; all that was started is ended\n"


def test_a_signal_at_work_is_kept_until_the_next_wait() -> None:
    done = []
    with caught() as interrupts:
        send(signal.SIGTERM)
        done.append("work")
        with pytest.raises(Interrupted), interrupts.allowed():
            done.append("wait")
    assert done == ["work"]


def test_a_wait_inside_a_wait_leaves_the_outer_one_open() -> None:
    with caught() as interrupts, interrupts.allowed():
        with interrupts.allowed():
            pass
        with pytest.raises(Interrupted):
            send(signal.SIGTERM)


def test_only_the_first_signal_counts() -> None:
    with caught() as interrupts:
        with pytest.raises(Interrupted, match="SIGINT"), interrupts.allowed():
            send(signal.SIGINT)
        with interrupts.allowed():
            send(signal.SIGTERM)
            send(signal.SIGINT)


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with caught() as interrupts, interrupts.allowed():
            send(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
