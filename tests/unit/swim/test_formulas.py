"""The formulas against values that the real functions gave."""

import json
from pathlib import Path
from typing import Any

import pytest

from moot.gossip.config import LAN, LOCAL, WAN
from moot.gossip.swim.awareness import Awareness
from moot.gossip.swim.scaling import (
    confirmations_needed,
    push_pull_scale,
    retransmit_limit,
    suspicion_remaining,
    suspicion_timeout,
)
from moot.gossip.swim.suspicion import Suspicion

VALUES: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "formulas.json").read_text()
)["values"]


@pytest.mark.parametrize("row", VALUES["suspicion_min_and_retransmit"], ids=lambda row: f"n={row['n']}")
def test_timeouts_limits_and_scales(row: dict[str, Any]) -> None:
    n = row["n"]
    ours = {
        "n": n,
        "retransmit_mult4": retransmit_limit(4, n),
        "retransmit_mult2": retransmit_limit(2, n),
        "push_pull_scale_30s_ns": push_pull_scale(30.0, n) * 1e9,
    }
    for profile, key in ((LAN, "lan_min_ns"), (WAN, "wan_min_ns"), (LOCAL, "local_min_ns")):
        ours[key] = round(suspicion_timeout(profile.suspicion_mult, n, profile.probe_interval) * 1e9)
    # some rows give only one of the values
    assert {key: ours[key] for key in row} == row


@pytest.mark.parametrize("row", VALUES["remaining_suspicion_time"])
def test_confirmations_shorten_a_suspicion(row: dict[str, Any]) -> None:
    ours = suspicion_remaining(row["n"], row["k"], row["elapsed_ns"] / 1e9, row["min_ns"] / 1e9, row["max_ns"] / 1e9)
    assert round(ours * 1e9) == row["remaining_ns"]


def test_small_pools_ask_for_no_confirmations() -> None:
    assert [confirmations_needed(4, n) for n in (1, 2, 3, 4, 100)] == [0, 0, 0, 2, 2]
    assert confirmations_needed(2, 100) == 0


def test_an_accuser_counts_once_and_the_first_not_at_all() -> None:
    suspicion = Suspicion(0.0, "a", 2, 4.0, 24.0)
    assert suspicion.first_timeout() == 24.0
    assert not suspicion.confirm("a")
    assert suspicion.confirm("b")
    assert not suspicion.confirm("b")
    assert suspicion.confirm("c")
    assert suspicion.remaining(1.0) == 3.0
    assert not suspicion.confirm("d")
    assert suspicion.remaining(99.0) == 0.0


def test_without_confirmations_to_come_the_shortest_timeout_holds() -> None:
    assert Suspicion(0.0, "a", 0, 4.0, 24.0).first_timeout() == 4.0


def test_awareness_stays_within_its_bounds() -> None:
    awareness = Awareness(8)
    awareness.change(-1)
    assert awareness.score == 0
    awareness.change(20)
    assert awareness.score == 7
    assert awareness.scale(1.0) == 8.0
