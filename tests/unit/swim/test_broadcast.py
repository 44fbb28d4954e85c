"""The broadcast queue against the trace of the real one, and its promises."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st

from moot.gossip.swim.broadcast import BroadcastQueue

T = TypeVar("T")
TRACE = Path(__file__).parents[2] / "vectors" / "broadcast_queue.json"


def noting(ended: list[T], what: T) -> Callable[[object], None]:
    """To be called when the queue is done with a message."""
    return lambda _: ended.append(what)


def test_the_trace_of_the_real_queue_is_reproduced() -> None:
    operations: list[dict[str, Any]] = json.loads(TRACE.read_text())["operations"]
    queue: BroadcastQueue[str] = BroadcastQueue(0, lambda: 0, len)
    finished: list[str] = []
    for step in operations:
        finished.clear()
        if step["op"] == "config":
            queue = BroadcastQueue(step["retransmit_mult"], partial(int, step["num_nodes"]), len)
            continue
        if step["op"] == "queue":
            text = step["msg"]
            queue.queue(0.0, text, step["name"] or None, noting(finished, text))
        else:
            assert queue.fetch(0.0, step["overhead"], step["limit"]) == step["result"], step
            assert len(queue) == step["remaining"], step
        assert finished == (step["finished"] or []), step


def test_a_message_larger_than_the_room_waits_without_blocking_smaller_ones() -> None:
    queue = BroadcastQueue(4, lambda: 10, len)
    queue.queue(0.0, "x" * 50)
    queue.queue(0.0, "small")
    assert queue.fetch(0.0, 2, 20) == ["small"]
    assert len(queue) == 2


def test_pruning_drops_the_most_sent_first() -> None:
    queue = BroadcastQueue(4, lambda: 10, len)
    dropped: list[str] = []
    queue.queue(0.0, "old", done=lambda _: dropped.append("old"))
    queue.fetch(0.0, 2, 100)
    queue.queue(0.0, "new", done=lambda _: dropped.append("new"))
    assert queue.prune(0.0, 1) == 1
    assert dropped == ["old"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(1, 40)),
            st.integers(0, 90),
        ),
        max_size=60,
    ),
    st.integers(1, 200),
)
def test_every_message_ends_once_and_is_never_sent_more_often_than_the_limit(
    steps: list[tuple[str | None, int] | int], members: int
) -> None:
    queue: BroadcastQueue[tuple[int, int]] = BroadcastQueue(2, lambda: members, lambda m: m[1])
    sent: dict[tuple[int, int], int] = {}
    ended: list[tuple[int, int]] = []
    queued = 0
    limit = queue_limit(members)
    for step in steps:
        if isinstance(step, int):
            batch = queue.fetch(0.0, 3, step)
            assert len(set(batch)) == len(batch)
            assert sum(3 + size for _, size in batch) <= max(step, 0)
            for message in batch:
                sent[message] = sent.get(message, 0) + 1
        else:
            name, size = step
            queued += 1
            message = (queued, size)
            queue.queue(0.0, message, name, noting(ended, message))
    assert all(count <= limit for count in sent.values())
    assert len(set(ended)) == len(ended)
    assert len(queue) + len(ended) == queued


def queue_limit(members: int) -> int:
    return 2 * math.ceil(math.log10(members + 1))
