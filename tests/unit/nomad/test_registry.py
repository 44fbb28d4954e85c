"""NodeRegistry: who is registered, until when, and for how long."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moot.agent.nomad.errors import Refused
from moot.agent.nomad.registry import DOWN, READY, SPARE_MAX, NodeEntry, NodeFacts, NodeRegistry, RegistrySettings
from moot.gossip.errors import ConfigError


class Half(Random):
    """Always draws the middle."""

    def random(self) -> float:
        return 0.5


def facts(number: int = 1, **more: str) -> NodeFacts:
    """A node."""
    node = NodeFacts(
        node_id=f"id-{number}", secret=f"secret-{number}", name=f"c{number}", datacenter="dc1", address="127.0.0.9"
    )
    return replace(node, **more)


def registry(heard: list[str] | None = None, **options: Any) -> NodeRegistry:
    """A registry whose TTLs are one and a half times the least; `heard` gets `name status`."""

    def tell(entry: NodeEntry) -> None:
        if heard is not None:
            heard.append(f"{entry.name} {entry.status}")

    return NodeRegistry(RegistrySettings(**options), Half(), tell)


def status(held: NodeRegistry, now: float, number: int = 1) -> str | None:
    """Of one node."""
    return next((entry.status for entry in held.entries(now) if entry.node_id == f"id-{number}"), None)


def test_a_node_is_ready_until_its_ttl_is_over() -> None:
    held = registry()
    ttl = held.register(100.0, facts())
    assert ttl == 15.0
    assert status(held, 114.9) == READY
    assert status(held, 115.0) == DOWN


def test_a_heartbeat_makes_it_ready_for_another_ttl() -> None:
    held = registry()
    held.register(0.0, facts())
    assert held.beat(10.0, "id-1", "secret-1", READY) == 15.0
    assert status(held, 24.9) == READY
    assert status(held, 25.0) == DOWN


def test_a_node_that_is_down_is_ready_again_with_its_next_heartbeat() -> None:
    heard: list[str] = []
    held = registry(heard)
    held.register(0.0, facts())
    held.settle(16.0)
    held.beat(17.0, "id-1", "secret-1", READY)
    assert status(held, 18.0) == READY
    assert status(held, 40.0) == DOWN
    assert heard == ["c1 ready", "c1 down", "c1 ready", "c1 down"]


def test_the_grace_is_added_to_each_ttl() -> None:
    held = registry(heartbeat_grace=10.0)
    assert held.register(0.0, facts()) == 15.0
    assert status(held, 24.9) == READY
    assert status(held, 25.0) == DOWN


def test_the_ttl_grows_with_the_number_of_nodes() -> None:
    held = registry(min_heartbeat_ttl=1.0, max_heartbeats_per_second=2.0)
    ttls = [held.register(0.0, facts(number)) for number in range(6)]
    assert ttls == [1.5, 1.5, 2.25, 3.0, 3.75, 4.5]


def test_nodes_that_are_down_do_not_count_for_the_ttl() -> None:
    held = registry(min_heartbeat_ttl=1.0, max_heartbeats_per_second=1.0)
    for number in range(10):
        held.register(0.0, facts(number))
    assert held.up_count == 10
    held.settle(1000.0)
    assert held.up_count == 0
    assert held.beat(1000.0, "id-1", "secret-1", READY) == 1.5


def test_ttls_are_spread_so_that_heartbeats_do_not_come_together() -> None:
    held = NodeRegistry(RegistrySettings(), Random(5))
    ttls = [held.register(0.0, facts(number)) for number in range(100)]
    assert all(10.0 <= ttl < 20.0 for ttl in ttls)
    assert max(ttls) - min(ttls) > 8.0


def test_a_heartbeat_of_an_unknown_node_is_refused_in_nomads_words() -> None:
    with pytest.raises(Refused, match=r"^node not found$"):
        registry().beat(0.0, "id-1", "secret-1", READY)


def test_another_secret_is_refused() -> None:
    held = registry()
    held.register(0.0, facts())
    with pytest.raises(Refused, match="node secret ID does not match"):
        held.register(1.0, facts(secret="stolen"))
    for call in (held.beat, lambda now, node, secret, _: held.release(now, node, secret)):
        with pytest.raises(Refused, match="Permission denied"):
            call(1.0, "id-1", "\udcffstolen", READY)
    assert status(held, 14.9) == READY


def test_the_secret_is_not_shown() -> None:
    assert "secret-1" not in repr(facts())


def test_a_node_that_says_it_is_down_is_down_at_once() -> None:
    held = registry()
    held.register(0.0, facts())
    assert held.beat(1.0, "id-1", "secret-1", DOWN) == 0.0
    assert status(held, 1.0) == DOWN
    assert held.up_count == 0


def test_a_node_that_registers_again_may_say_other_things_of_itself() -> None:
    held = registry()
    held.register(0.0, facts())
    held.register(5.0, facts(name="renamed", address="127.0.0.10"))
    (entry,) = held.entries(6.0)
    assert (entry.name, entry.address, entry.heard_ago) == ("renamed", "127.0.0.10", 1.0)
    assert (entry.create_index, entry.modify_index) == (1, 2)


def test_the_index_grows_with_changes_and_not_with_heartbeats() -> None:
    held = registry()
    held.register(0.0, facts())
    held.beat(1.0, "id-1", "secret-1", READY)
    assert held.index == 1
    held.settle(100.0)
    assert held.index == 2


def test_a_released_node_is_forgotten() -> None:
    heard: list[str] = []
    held = registry(heard)
    held.register(0.0, facts())
    held.release(1.0, "id-1", "secret-1")
    assert held.entries(2.0) == []
    assert held.entries(100.0) == []
    assert heard == ["c1 ready"]


def test_a_node_that_is_down_is_forgotten_after_a_day() -> None:
    held = registry(node_gc_threshold=1000.0)
    held.register(0.0, facts())
    assert status(held, 1014.9) == DOWN
    assert status(held, 1015.0) is None


def test_a_node_that_comes_back_from_being_down_goes_down_in_time() -> None:
    held = registry()
    held.register(0.0, facts(status=DOWN))
    held.settle(1.0)
    held.beat(2.0, "id-1", "secret-1", READY)
    assert status(held, 17.0) == DOWN


def test_when_it_is_full_the_node_that_went_down_first_gives_way() -> None:
    held = registry(nodes_max=3)
    for number in (1, 2, 3):
        held.register(0.0, facts(number))
    with pytest.raises(Refused, match="too many client nodes, 3"):
        held.register(1.0, facts(4))
    held.beat(2.0, "id-2", "secret-2", DOWN)
    held.beat(3.0, "id-1", "secret-1", DOWN)
    held.register(4.0, facts(4))
    assert [entry.node_id for entry in held.entries(4.0)] == ["id-1", "id-3", "id-4"]


def test_the_next_instant_is_when_something_may_happen() -> None:
    held = registry()
    assert held.next_instant is None
    held.register(0.0, facts())
    assert held.next_instant == 15.0


def test_who_registers_and_goes_again_and_again_leaves_nothing_behind() -> None:
    held = registry()
    for round_ in range(2000):
        held.register(0.001 * round_, facts(round_ % 3, status=DOWN))
        held.release(0.001 * round_, f"id-{round_ % 3}", f"secret-{round_ % 3}")
    assert len(held._instants) <= SPARE_MAX + 8


def test_who_is_heard_often_takes_one_entry() -> None:
    held = registry()
    held.register(0.0, facts())
    for beat in range(1000):
        held.beat(0.01 * beat, "id-1", "secret-1", READY)
    assert len(held._instants) == 1


@pytest.mark.parametrize("option", ["min_heartbeat_ttl", "max_heartbeats_per_second", "nodes_max"])
def test_settings_that_cannot_work_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        RegistrySettings(**{option: 0})


class Model:
    """The registry as it should be, by plain means."""

    def __init__(self) -> None:
        self.until: dict[int, float] = {}

    def ready(self, now: float) -> Iterator[int]:
        return (number for number, until in self.until.items() if until > now)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from(["register", "beat", "down", "release"]), st.integers(0, 4), st.floats(0, 12)),
        max_size=60,
    )
)
def test_whatever_happens_a_node_is_ready_exactly_while_its_last_ttl_runs(
    steps: list[tuple[str, int, float]],
) -> None:
    held, model, now = registry(node_gc_threshold=50.0), Model(), 0.0
    for what, number, pause in steps:
        now += pause
        try:
            if what == "register":
                model.until[number] = now + held.register(now, facts(number))
            elif what == "beat":
                model.until[number] = now + held.beat(now, f"id-{number}", f"secret-{number}", READY)
            elif what == "down":
                held.beat(now, f"id-{number}", f"secret-{number}", DOWN)
                model.until[number] = now
            else:
                held.release(now, f"id-{number}", f"secret-{number}")
                del model.until[number]
        except Refused as refusal:
            assert str(refusal) == "node not found"  # noqa: PT017 - only some of the random steps are refused
        found = {int(entry.node_id[3:]) for entry in held.entries(now) if entry.status == READY}
        assert found == set(model.ready(now))
        assert held.up_count == len(found)


def test_nodes_are_counted_by_what_they_are() -> None:
    held = registry()
    assert held.counts(0.0) == {READY: 0, DOWN: 0}
    for number in range(3):
        held.register(float(number), facts(number))
    assert held.counts(2.0) == {READY: 3, DOWN: 0}
    assert held.counts(16.5) == {READY: 1, DOWN: 2}
