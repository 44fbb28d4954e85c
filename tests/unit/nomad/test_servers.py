"""ServerList: order, failover, replacement; and how servers are written."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.agent.nomad.servers import REBALANCE_MIN, ServerList, literal, parse_server

A, B, C, D = (f"127.0.0.{n}:4647" for n in range(1, 5))


def listed(*addresses: str, seed: int = 1) -> ServerList:
    """A list of these, in the order given."""
    servers = ServerList(Random(seed))
    servers.replace(addresses)
    for address in reversed(addresses):
        servers.works(address)
    return servers


def test_an_empty_list_names_nobody() -> None:
    servers = ServerList(Random(1))
    assert servers.known == ()
    assert servers.next() is None


def test_a_new_list_replaces_the_old_one_in_a_random_order() -> None:
    orders = set()
    for seed in range(40):
        servers = ServerList(Random(seed))
        assert servers.replace([A, B, C])
        assert sorted(servers.known) == [A, B, C]
        orders.add(servers.known)
    assert len(orders) == 6


def test_the_same_servers_change_nothing_whatever_their_order() -> None:
    servers = listed(B, A, C)
    assert not servers.replace([A, B, C])
    assert not servers.replace([C, B, A, A])
    assert servers.known == (B, A, C)


def test_a_failed_server_goes_to_the_end_and_stays_there_when_the_same_list_comes_again() -> None:
    servers = listed(A, B, C)
    servers.failed(A)
    assert servers.known == (B, C, A)
    assert servers.next() == B
    servers.replace([A, B, C])
    assert servers.next() == B


def test_each_server_is_tried_once_until_one_works() -> None:
    servers = listed(A, B, C)
    for address in (A, B, C):
        assert servers.next() == address
        servers.failed(address)
    assert servers.next() is None
    assert sorted(servers.known) == [A, B, C], "the list stays, reachable or not"
    servers.works(B)
    assert servers.next() == B
    assert servers.known[0] == B


def test_a_new_round_tries_all_again_and_then_a_reserve_that_is_not_listed() -> None:
    servers = listed(A, B)
    servers.failed(A)
    servers.failed(B)
    servers.begin_round([B, C])
    tried = []
    while (address := servers.next()) is not None:
        tried.append(address)
        servers.failed(address)
    assert tried == [A, B, C]
    assert sorted(servers.known) == [A, B]


def test_a_server_of_the_reserve_that_works_is_not_listed() -> None:
    servers = listed(A)
    servers.failed(A)
    servers.begin_round([B])
    servers.failed(A)
    servers.works(B)
    assert servers.known == (A,)
    assert servers.next() == A


def test_a_new_list_is_tried_from_its_front_although_servers_failed_before() -> None:
    servers = listed(A, B)
    servers.failed(A)
    servers.failed(B)
    servers.replace([A, C])
    assert servers.next() == servers.known[0]


def test_a_shuffled_list_leaves_the_order_as_it_is() -> None:
    servers = listed(A, B, C, D)
    orders = {tuple(servers.shuffled()) for _ in range(50)}
    assert len(orders) > 5
    assert servers.known == (A, B, C, D)


def test_clients_look_for_another_server_after_five_to_ten_minutes() -> None:
    servers = listed(A, B, C)
    intervals = [servers.rebalance_interval(100) for _ in range(100)]
    assert all(REBALANCE_MIN <= it < 2 * REBALANCE_MIN for it in intervals)
    assert max(intervals) - min(intervals) > 200


def test_in_a_huge_pool_they_do_so_less_often() -> None:
    assert listed(A).rebalance_interval(64 * 3600) >= 3600.0


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1", "127.0.0.1", 4647),
        ("127.0.0.1:4999", "127.0.0.1", 4999),
        ("server.example", "server.example", 4647),
        ("server.example:1", "server.example", 1),
        ("::1", "::1", 4647),
        ("[::1]", "::1", 4647),
        ("[::1]:65535", "::1", 65535),
        ("127.0.0.1:", "127.0.0.1", 4647),
    ],
)
def test_a_port_is_added_where_none_is_given(text: str, host: str, port: int) -> None:
    assert parse_server(text) == (host, port)


@pytest.mark.parametrize("port", ["999999", "65536", "0", "x", "-1", "٣", "9" * 5000])
def test_a_bad_port_is_named(port: str) -> None:
    with pytest.raises(ValueError, match=f"address {port}: invalid port"):
        parse_server(f"127.0.0.1:{port}")


@pytest.mark.parametrize("text", ["", ":4647", "[]:4647", "[::1", "[::1]4647"])
def test_what_names_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        parse_server(text)


def test_only_an_ip_needs_no_lookup() -> None:
    assert literal("127.0.0.1") == "127.0.0.1:4647"
    assert literal("0:0::1") == "[::1]:4647"
    assert literal("localhost") is None
    with pytest.raises(ValueError, match="no server listens"):
        literal("0.0.0.0:4647")


@given(
    st.lists(
        st.tuples(st.sampled_from(["replace", "failed", "works", "round"]), st.lists(st.sampled_from([A, B, C, D]))),
        max_size=30,
    )
)
def test_whatever_happens_the_list_has_what_it_was_given_last_and_each_once(
    steps: list[tuple[str, list[str]]],
) -> None:
    servers, given_last = ServerList(Random(1)), set[str]()
    for what, some in steps:
        if what == "replace":
            servers.replace(some)
            given_last = set(some)
        elif what == "round":
            servers.begin_round(some)
        else:
            for address in some:
                servers.failed(address) if what == "failed" else servers.works(address)
        assert sorted(servers.known) == sorted(given_last)
        following = servers.next()
        assert following is None or following in (A, B, C, D)
