"""The servers of a pool, with the addresses of their RPC."""

from moot.agent.nomad.pool import alive_servers
from moot.gossip.serf.members import MemberStatus
from tests.api.scripted import identity, made, server_tags


def test_alive_servers_come_by_name_with_both_addresses() -> None:
    members = [
        made("s2.global", "127.0.0.3", server_tags(rpc_addr="10.0.0.3")),
        made("s1.global", "127.0.0.2", server_tags()),
        made("s3.global", "127.0.0.4", server_tags(), MemberStatus.FAILED),
    ]
    found = alive_servers(members, identity())
    assert [(it.name, it.address, it.told) for it in found] == [
        ("s1.global", "127.0.0.2:4647", "127.0.0.2:4647"),
        ("s2.global", "127.0.0.3:4647", "10.0.0.3:4647"),
    ]


def test_an_announced_address_that_no_client_can_use_is_not_told() -> None:
    for strange in ("0.0.0.0", "::", "server.example", "", "127.0.0.1:4647"):
        (server,) = alive_servers([made("s1.global", "127.0.0.2", server_tags(rpc_addr=strange))], identity())
        assert server.told == "127.0.0.2:4647"
    (server,) = alive_servers([made("s1.global", "127.0.0.2", server_tags(rpc_addr="::1"))], identity())
    assert server.told == "[::1]:4647"


def test_who_is_no_server_is_left_out() -> None:
    members = [
        made("a.global", "127.0.0.2", {"role": "web"}),
        made("b.global", "127.0.0.3", server_tags(port="70000")),
    ]
    assert alive_servers(members, identity()) == []


def test_in_a_pool_of_serf_agents_those_count_that_name_an_rpc_port() -> None:
    members = [made("a", "127.0.0.2", {}), made("b", "127.0.0.3", {"port": "4000", "region": "eu"})]
    (server,) = alive_servers(members, identity("a", pool="serf"))
    assert (server.name, server.region, server.address) == ("b", "eu", "127.0.0.3:4000")
