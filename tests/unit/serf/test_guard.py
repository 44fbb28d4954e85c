"""Who may be in the pool (http-api: "is a server")."""

import pytest

from moot.gossip.serf import MemberStatus, nomad_guard
from moot.gossip.serf.guard import is_nomad_server
from moot.gossip.serf.tags import encode_tags
from moot.gossip.swim.events import MergeRefused
from moot.gossip.swim.member import Member
from tests.support.serf import SerfDesk, push_pull
from tests.support.swim import alive, member

SERVER = {"role": "nomad", "port": "4647", "build": "1.8.0", "region": "global", "dc": "dc1", "vsn": "1"}


def server(name: str, **tags: str) -> Member:
    return member(name, meta=encode_tags(SERVER | tags))


@pytest.mark.parametrize(
    "build", ["0.5.5dev", "1.1.2", "1.8.0-beta.1", "1.8.0+ent", "v1.2", "1.9.0-dev", "1.7.0-rc.1+ent", "2"]
)
def test_builds_that_are_versions(build: str) -> None:
    assert is_nomad_server(SERVER | {"build": build})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("role", "consul"),
        ("role", ""),
        ("port", "http"),
        ("port", ""),
        ("build", ""),
        ("build", "latest"),
        ("build", "1.2."),
        ("vsn", "one"),
        ("expect", "3.5"),
        ("raft_vsn", "x"),
    ],
)
def test_one_wrong_tag_makes_it_no_server(key: str, value: str) -> None:
    assert not is_nomad_server(SERVER | {key: value})


@pytest.mark.parametrize("key", ["role", "port", "build"])
def test_tags_that_must_be_there(key: str) -> None:
    assert not is_nomad_server({name: value for name, value in SERVER.items() if name != key})


@pytest.mark.parametrize(("key", "value"), [("expect", "3"), ("raft_vsn", "2"), ("bootstrap", "1"), ("vsn", "-1")])
def test_tags_that_may_be_there(key: str, value: str) -> None:
    assert is_nomad_server(SERVER | {key: value})


def test_the_guard_names_the_first_that_is_no_server() -> None:
    members = [server("s1"), member("plain"), member("other")]
    assert nomad_guard(members) == "member 'plain' is not a server"
    assert nomad_guard([server("s1")]) is None


def test_a_join_with_a_stranger_in_it_is_refused_as_a_whole() -> None:
    desk = SerfDesk(tags=SERVER, guard=nomad_guard)
    desk.sync(push_pull({"s1": 3}, ltime=50), [server("s1"), member("plain")], join=True)
    assert [refused.reason for refused in desk.out.took(MergeRefused)] == ["member 'plain' is not a server"]
    assert desk.status("s1") is None
    assert desk.clock() == 1


def test_a_join_of_servers_is_taken_over() -> None:
    desk = SerfDesk(tags=SERVER, guard=nomad_guard)
    desk.sync(push_pull({"s1": 3}), [server("s1")], join=True)
    assert desk.status("s1") is MemberStatus.ALIVE


def test_a_stranger_that_is_gossiped_about_is_refused() -> None:
    desk = SerfDesk(tags=SERVER, guard=nomad_guard)
    desk.hear(alive("plain"), alive("s1", meta=encode_tags(SERVER)))
    assert desk.status("plain") is None
    assert desk.status("s1") is MemberStatus.ALIVE
    assert desk.serf.counters.guard_refusals == 1


def test_with_a_guard_a_member_must_announce_all_six_versions() -> None:
    desk = SerfDesk(tags=SERVER, guard=nomad_guard)
    desk.hear(alive("s1", meta=encode_tags(SERVER), versions=b""))
    assert desk.status("s1") is None


def test_without_a_guard_everybody_may_be_in() -> None:
    desk = SerfDesk()
    desk.hear(alive("plain", versions=b""))
    assert desk.status("plain") is MemberStatus.ALIVE
