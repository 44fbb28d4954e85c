"""The member table, its roster and the probe order."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from moot.gossip.swim.member import Status
from moot.gossip.swim.table import MemberTable, ProbeOrder, Roster
from tests.support.swim import member


def test_names_that_are_dropped_everywhere_give_their_rows_back() -> None:
    roster = Roster()
    one, two = MemberTable(roster), MemberTable(roster)
    for table in (one, two):
        table.put(0.0, member("a"))
    one.drop("a")
    assert roster.row("a") == 0
    two.drop("a")
    assert roster.row("a") is None
    two.put(0.0, member("b"))
    assert roster.row("b") == 0
    assert one.get("b") is None


def test_the_only_eligible_member_of_a_small_table_is_always_found() -> None:
    table = MemberTable(Roster())
    for name in "abcdefg":
        table.put(0.0, member(name))
    for seed in range(200):
        (found,) = table.choose(Random(seed), 3, lambda m: m.name == "d")
        assert found.name == "d"


def test_choosing_from_a_large_table_gives_different_members() -> None:
    table = MemberTable(Roster())
    for number in range(500):
        table.put(0.0, member(f"n{number}"))
    chosen = table.choose(Random(3), 4, lambda m: m.name != "n7")
    assert len({m.name for m in chosen}) == 4


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from([*Status, None])), max_size=40))
def test_counts_follow_the_rows(changes: list[tuple[str, Status | None]]) -> None:
    table = MemberTable(Roster())
    model: dict[str, Status] = {}
    for at, (name, status) in enumerate(changes):
        if status is None:
            if name in model:
                table.drop(name)
                del model[name]
        else:
            table.put(float(at), member(name, status=status))
            model[name] = status
        assert {m.name: m.status for m in table} == model
        assert len(table) == len(model)
        assert table.live_count == sum(status <= Status.SUSPECT for status in model.values())
        assert set(table.changed_at) == {name for name, status in model.items() if status > Status.SUSPECT}


@given(st.integers(0, 60), st.integers(0, 20), st.integers(0, 59), st.integers())
def test_a_pass_meets_each_row_once_also_those_that_came_during_it(
    rows: int, more: int, when: int, seed: int
) -> None:
    order, rng = ProbeOrder(), Random(seed)
    for _ in range(2):
        met = []
        count = rows
        while (row := order.next(rng, count)) is not None:
            met.append(row)
            if len(met) == when:
                count = rows + more
        assert sorted(met) == list(range(count))
