"""Pages, and what tables that share them tell each other."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.gossip.serf.members import MemberStatus, SerfMember, SerfTable
from moot.gossip.sim import SimCluster
from moot.gossip.swim.member import Status
from moot.gossip.swim.pages import PAGE, Pages
from moot.gossip.swim.sync import versions_conflict
from moot.gossip.swim.table import MemberTable, Roll, Roster
from tests.support.swim import member

PUTS = st.lists(st.tuples(st.integers(0, 3 * PAGE), st.none() | st.integers(0, 5)), max_size=40)


@given(PUTS, PUTS, PUTS)
def test_copies_are_apart_and_differ_where_they_were_changed(
    before: list[tuple[int, int | None]], one: list[tuple[int, int | None]], two: list[tuple[int, int | None]]
) -> None:
    first: Pages[int] = Pages()
    for row, item in before:
        first.put(row, item)
    second = first.copy()
    mine, theirs = dict(before), dict(before)
    for row, item in one:
        first.put(row, item)
        mine[row] = item
    for row, item in two:
        second.put(row, item)
        theirs[row] = item
    for pages, model in ((first, mine), (second, theirs)):
        assert list(pages) == [model[row] for row in sorted(model) if model[row] is not None]
        assert all(pages.get(row) == model.get(row) for row in range(4 * PAGE))
    unlike = [mine[row] for row in sorted(mine) if mine[row] is not None and mine[row] != theirs.get(row)]
    assert list(first.unlike(second)) == unlike


@given(st.lists(st.integers(), max_size=3 * PAGE))
def test_what_is_filled_in_can_be_put_into(items: list[int]) -> None:
    pages: Pages[int] = Pages()
    pages.put(4 * PAGE, 1)
    pages.fill(items)
    assert list(pages) == items
    assert pages.length == len(items)
    pages.put(len(items), 7)
    assert list(pages) == [*items, 7]


def test_a_lent_view_is_the_borrowers_own_from_its_first_change() -> None:
    roster = Roster(shared=True)
    one, two = MemberTable(roster), MemberTable(roster)
    two.put(0.0, member("b"))
    for name in "abc":
        one.put(0.0, member(name))
    one.lend_to([two])
    two.put(1.0, member("b", 2, Status.DEAD))
    two.drop("c")
    assert [held.status for held in one] == [Status.ALIVE] * 3
    assert (len(two), two.live_count, two.changed_at) == (2, 1, {"b": 1.0})
    assert [held.name for held in one.unlike(two.roll())] == ["b"]
    assert [held.name for held in two.unlike(one.roll())] == ["b", "c"]
    one.drop("c")
    assert roster.row("c") is None


def test_a_roll_lists_whom_a_push_pull_is_about_and_speaks_for_their_versions() -> None:
    table = MemberTable(Roster())
    for name, versions in (("a", member("a").versions), ("b", b"\1"), ("c", bytes((1, 5, 9, 2, 5, 5)))):
        table.put(0.0, member(name, versions=versions))
    roll = table.roll()
    table.drop("a")
    assert isinstance(roll, Roll)
    assert [held.name for held in roll] == ["a", "c"]
    assert len(roll) == 2
    assert roll[1].name == "c"
    assert versions_conflict(roll, roll) == versions_conflict(list(roll), list(roll)) is not None


def test_lamport_times_stay_as_they_were_told_when_rows_get_other_names() -> None:
    roster = Roster(shared=True)
    table = SerfTable(roster)
    for ltime, name in enumerate("ab", 3):
        table.put(SerfMember(member(name), MemberStatus.ALIVE, ltime))
    told = table.ltimes()
    table.remove("a")
    table.put(SerfMember(member("c"), MemberStatus.ALIVE, 9))
    assert told == {"a": 3, "b": 4}
    assert list(told) == ["a", "b"]
    assert "c" not in told
    assert told["a"] == 3
    assert list(table.news(told)) == [("a", 3)]
    assert repr(told) == "{'a': 3, 'b': 4}"


@pytest.mark.parametrize(("layer", "gone"), [("serf", "failed"), ("swim", "dead")])
def test_a_pool_that_boots_converged_knows_all_in_every_view(layer: Literal["serf", "swim"], gone: str) -> None:
    cluster = SimCluster(70, layer=layer)
    cluster.boot_converged()
    assert cluster.converged()
    cluster.crash("n03")
    cluster.run_until(lambda: cluster.all_see({"n03": gone}), 60)
