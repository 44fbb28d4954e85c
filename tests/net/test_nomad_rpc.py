"""Servers and client agents over real sockets: registration, failover, lists of servers, regions, TLS."""

import datetime
import ipaddress
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from moot.agent.nomad import servers
from moot.agent.nomad.client import Dialer
from moot.agent.nomad.client_role import ClientAgent
from moot.agent.nomad.errors import Refused, Unreached
from moot.agent.nomad.registry import RegistrySettings
from moot.agent.nomad.remote import RpcRemote
from moot.agent.nomad.service import RpcService
from moot.agent.nomad.structures import Options, decode_text, encode_options
from moot.gossip.serf.members import MemberStatus
from moot.http.backend import BackendError
from tests.api.scripted import identity
from tests.support.nomad import PoolSeenBy, Server, World, client_settings, world
from tests.support.pool import until
from tests.support.rpc import HeardLog

SHORT = RegistrySettings(min_heartbeat_ttl=1.0)
LONG = RegistrySettings(min_heartbeat_ttl=15.0)


def holders(here: World, name: str) -> list[str]:
    """The servers on which a client node is ready."""
    return [server.name for server in here.servers.values() if name in server.ready()]


def lives_at(agent: ClientAgent, server: Server) -> bool:
    return agent.stats()["server"] == server.address


def knows_nobody(server: Server) -> bool:
    return server.statuses() == {}


async def start_clients(here: World, count: int, servers: list[str]) -> list[ClientAgent]:
    """So many client agents, running."""
    agents = []
    for seed in range(1, count + 1):
        agent, _ = here.client(f"c{seed}", servers, seed=seed)
        await here.nursery.start(agent.run)
        agents.append(agent)
    return agents


async def next_beat(agent: ClientAgent) -> None:
    """Wait for a server to answer the client once more."""
    before = agent._heart.heard_at
    await until(lambda: agent._heart.heard_at != before)


async def test_a_client_whose_heartbeats_stop_is_down_after_its_ttl_on_its_server_alone() -> None:
    async with world() as here:
        one = await here.start("s1", "127.46.1.1", settings=SHORT)
        two = await here.start("s2", "127.46.1.2", settings=SHORT)
        agent, _ = here.client("c1", [one.address])
        scope = trio.CancelScope()
        here.nursery.start_soon(run_in, agent, scope)
        await until(lambda: one.ready() == {"c1"})
        assert two.statuses() == {}
        (entry,) = one.rpc.registry.entries(trio.current_time())
        scope.cancel()
        took = await until(lambda: one.statuses() == {"c1": "down"})
        assert took <= entry.ttl + 0.5
        assert any("client node down" in line for line in one.log.lines)
        assert two.statuses() == {}
        again, _ = here.client("c1", [two.address])
        await here.nursery.start(again.run)
        await until(lambda: two.ready() == {"c1"})


async def run_in(agent: ClientAgent, scope: trio.CancelScope) -> None:
    """Until the scope is cancelled."""
    with scope:
        await agent.run()


async def test_a_client_that_leaves_is_down_at_once() -> None:
    async with world() as here:
        one = await here.start("s1", "127.46.1.1", settings=LONG)
        agent, _ = here.client("c1", [one.address])
        await here.nursery.start(agent.run)
        await until(lambda: one.ready() == {"c1"})
        await agent.leave()
        assert one.statuses() == {"c1": "down"}


async def test_a_server_that_was_started_again_gets_its_clients_back_within_the_ttl() -> None:
    async with world() as here:
        one = await here.start("s1", "127.46.1.1", settings=LONG)
        port = int(one.address.rpartition(":")[2])
        (agent,) = await start_clients(here, 1, [one.address])
        await until(lambda: one.ready() == {"c1"})
        here.kill("s1")
        await until(lambda: one.rpc.open_count == 0)
        fresh = await here.start("s1", "127.46.1.1", port=port, settings=LONG)
        took = await until(lambda: fresh.ready() == {"c1"})
        assert took < 15.0
        assert agent.known_servers() == (one.address,), "the list stays while no server answers"


async def test_a_client_waits_for_servers_that_are_not_there_yet() -> None:
    async with world() as here:
        gone = await here.start("s1", "127.46.1.1")
        port = int(gone.address.rpartition(":")[2])
        here.kill("s1")
        await until(lambda: gone.rpc.open_count == 0)
        agent, log = here.client("c1", [gone.address])
        await here.nursery.start(agent.run)
        await until(lambda: any("no server takes this client node" in line for line in log.lines))
        fresh = await here.start("s1", "127.46.1.1", port=port)
        await until(lambda: fresh.ready() == {"c1"})


async def test_the_servers_that_answers_carry_replace_the_list() -> None:
    async with world() as here:
        one = await here.start("s1", "127.46.1.1", settings=SHORT)
        agent, _ = here.client("c1", [one.address])
        await here.nursery.start(agent.run)
        await until(lambda: one.ready() == {"c1"})
        two = await here.start("s2", "127.46.1.2", settings=SHORT)
        await until(lambda: sorted(agent.known_servers()) == sorted([one.address, two.address]))
        assert agent.known_servers()[0] == one.address, "the server that works stays the preferred one"
        here.pool.set_status("s2.global", MemberStatus.FAILED)
        await until(lambda: agent.known_servers() == (one.address,))


async def test_a_client_turns_to_the_addresses_that_servers_announce() -> None:
    async with world() as here:
        everywhere = await here.start("s1", "0.0.0.0")
        port = int(everywhere.address.rpartition(":")[2])
        here.pool.add("s1.global", "127.46.1.5", port)
        agent, _ = here.client("c1", [f"127.46.1.6:{port}"])
        await here.nursery.start(agent.run)
        await until(lambda: agent.stats()["server"] == f"127.46.1.5:{port}")
        assert agent.known_servers() == (f"127.46.1.5:{port}",)


async def test_when_announced_addresses_cannot_be_reached_the_configured_one_does() -> None:
    async with world() as here:
        one = await here.start("s1", "127.46.1.1", settings=SHORT)
        here.pool.add("s1.global", "127.46.1.250", 9)
        agent, _ = here.client("c1", [one.address])
        await here.nursery.start(agent.run)
        await until(lambda: agent.known_servers() == ("127.46.1.250:9",))
        await until(lambda: agent.stats()["server"] == one.address and one.ready() == {"c1"})
        registered = len([line for line in one.log.lines if "client node" in line])
        for _ in range(3):
            await next_beat(agent)
        assert one.ready() == {"c1"}
        assert len([line for line in one.log.lines if "client node" in line]) == registered, "it stays there"


async def test_setting_the_list_moves_the_client_and_the_old_server_forgets_it() -> None:
    async with world() as here:
        one = await here.start("s1", "127.46.1.1", settings=SHORT)
        two = await here.start("s2", "127.46.1.2", settings=SHORT)
        agent, _ = here.client("c1", [one.address])
        await here.nursery.start(agent.run)
        await until(lambda: one.ready() == {"c1"})
        assert await agent.set_servers([two.address]) == []
        assert agent.known_servers() == (two.address,)
        await until(lambda: two.ready() == {"c1"})
        assert agent.known_servers() == (two.address,), "what an operator set stands for a while"


async def test_now_and_then_clients_move_and_the_former_server_forgets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "REBALANCE_MIN", 0.3)
    async with world() as here:
        one = await here.start("s1", "127.46.1.1", settings=SHORT)
        two = await here.start("s2", "127.46.1.2", settings=SHORT)
        agent, _ = here.client("c1", [one.address, two.address])
        await here.nursery.start(agent.run)
        for home, other in ((one, two), (two, one)):
            await until(partial(lives_at, agent, home))
            await until(partial(knows_nobody, other))
        assert not any("down" in line for line in one.log.lines + two.log.lines)


async def test_a_list_of_which_no_server_answers_changes_nothing() -> None:
    async with world() as here:
        one = await here.start("s1", "127.46.1.1")
        agent, _ = here.client("c1", [one.address])
        errors = await agent.set_servers(["127.46.1.1:9", "127.46.1.1:x"])
        assert errors == [
            "Server at address 127.46.1.1:9 failed ping: rpc error: failed to get conn: dial tcp 127.46.1.1:9:"
            " connect: connection refused",
            "address x: invalid port",
        ]
        assert agent.known_servers() == (one.address,)
        assert await agent.set_servers(["127.46.1.1"] * 1000) == ["more than 256 servers"] * 1000


async def test_what_answers_but_speaks_no_rpc_fails_its_ping() -> None:
    async def say_hello(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 hello\r\n")
        await stream.receive_some(1000)

    async with world() as here:
        (listener,) = await trio.open_tcp_listeners(0, host="127.46.1.9")
        here.nursery.start_soon(trio.serve_listeners, say_hello, [listener])
        agent, _ = here.client("c1", [])
        (error,) = await agent.set_servers([f"127.46.1.9:{listener.socket.getsockname()[1]}"])
        assert "failed ping: rpc error: " in error
        assert agent.known_servers() == ()


async def test_figures_of_the_client_are_real() -> None:
    async with world() as here:
        one = await here.start("s1", "127.46.1.1", settings=LONG)
        agent, _ = here.client("c1", [one.address], seed=7)
        assert agent.stats()["last_heartbeat"] == "2562047h47m16.854775807s"
        assert agent.stats()["heartbeat_ttl"] == "0s"
        await here.nursery.start(agent.run)
        await until(lambda: one.ready() == {"c1"} and agent.stats()["server"] != "")
        stats = agent.stats()
        (entry,) = one.rpc.registry.entries(trio.current_time())
        assert stats["heartbeat_ttl"] == f"{entry.ttl:.9f}".rstrip("0") + "s"
        assert stats["known_servers"] == stats["server"] == one.address
        assert stats["node_id"] == entry.node_id == "00000000-0000-0000-0000-000000000007"
        assert stats["last_heartbeat"].endswith("s")


async def test_a_client_passes_questions_on_to_its_servers() -> None:
    async with world() as here:
        one = await here.start("s1", "127.46.1.1")
        two = await here.start("e1", "127.46.1.2", region="eu")
        agent, _ = here.client("c1", ["127.46.1.1:9", one.address])
        remote = RpcRemote("global", agent.call)
        answer = await remote.members()
        assert answer.server_name == "s1"
        assert [member.name for member in answer.members] == ["e1.eu", "s1.global"]
        assert await remote.leader("", stale=False) == one.address
        assert await remote.peers("global", stale=False) == [one.address]
        assert await remote.regions() == ["eu", "global"]
        assert await remote.leader("eu", stale=False) == two.address, "the server asks the other region"
        with pytest.raises(BackendError, match=r"^rpc error: No path to region$"):
            await remote.leader("mars", stale=False)


async def test_without_servers_or_with_none_that_answers_a_question_fails_in_nomads_words() -> None:
    async with world() as here:
        alone, _ = here.client("c1", [])
        with pytest.raises(BackendError, match=r"^no servers$"):
            await RpcRemote("global", alone.call).members()
        cut_off, _ = here.client("c2", ["127.46.1.1:9"])
        with pytest.raises(BackendError, match=r"dial tcp 127\.46\.1\.1:9: connect: connection refused"):
            await RpcRemote("global", cut_off.call).members()


async def test_a_server_asks_another_server_of_the_region_when_the_first_does_not_answer() -> None:
    async with world() as here:
        one = await here.start("s1", "127.46.1.1")
        here.pool.add("e1.eu", "127.46.1.2", 9, "eu")
        await here.start("e2", "127.46.1.3", region="eu")
        remote = RpcRemote("global", one.rpc.ask)
        for _ in range(5):
            assert await remote.leader("eu", stale=False) == "127.46.1.2:9", "lowest by name, reachable or not"
        here.kill("e2")
        await until(lambda: True)
        with pytest.raises(BackendError, match="connection refused"):
            await remote.leader("eu", stale=False)
        with pytest.raises(BackendError, match=r"^No path to region$"):
            await remote.leader("mars", stale=False)


async def test_nodes_of_the_own_and_of_another_region_are_listed() -> None:
    async with world() as here:
        one = await here.start("s1", "127.46.1.1")
        europe = await here.start("e1", "127.46.1.2", region="eu")
        agent, _ = here.client("c1", [one.address], region="eu")
        await here.nursery.start(agent.run)
        await until(lambda: europe.ready() == {"c1"})
        remote = RpcRemote("global", one.rpc.ask)
        assert [(node.name, node.status, node.address) for node in await remote.nodes("eu")] == [
            ("c1", "ready", "127.46.9.9")
        ]
        assert await remote.nodes("") == []
        await until(lambda: agent.stats()["server"] == europe.address)


def certificates(folder: Path) -> tuple[Path, Path]:
    """A certificate for `server.global.nomad` that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server.global.nomad")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("server.global.nomad"), x509.IPAddress(ipaddress.ip_address("127.46.1.1"))]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


async def test_with_tls_clients_register_through_it_and_plain_ones_are_hung_up_on(tmp_path: Path) -> None:
    cert_file, key_file = certificates(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(cert_file, key_file)
    trusting = ssl.create_default_context(cafile=str(cert_file))
    async with world() as here:
        one = await here.start("s1", "127.46.1.1", settings=SHORT)
        one.rpc.tls = serving
        agent, _ = here.client("c1", [one.address], dialer=Dialer("global", tls=trusting))
        await here.nursery.start(agent.run)
        await until(lambda: one.ready() == {"c1"})
        plain = Dialer("global")
        with pytest.raises(Unreached, match=r"EOF|closed|reset"):
            await plain.ping(one.address)
        with pytest.raises(Unreached, match="certificate"):
            await Dialer("global", tls=ssl.create_default_context()).ping(one.address)
        with pytest.raises(Unreached, match="certificate"):
            await Dialer("eu", tls=trusting).ping(one.address)
        one.rpc.tls = None
        await plain.ping(one.address)
        with pytest.raises(Unreached):
            await Dialer("global", tls=trusting).ping(one.address)


async def test_a_call_to_a_server_that_says_nothing_ends() -> None:
    async with world() as here:
        (listener,) = await trio.open_tcp_listeners(0, host="127.46.1.9")
        address = f"127.46.1.9:{listener.socket.getsockname()[1]}"
        with pytest.raises(Unreached, match=r"no answer to Status\.Ping in 0\.2 s"):
            await here.dialer.ping(address, within=0.2)
        await listener.aclose()


async def test_a_link_serves_one_call_after_another_and_none_after_it_broke() -> None:
    async with world() as here:
        one = await here.start("s1", "127.46.1.1")
        async with await here.dialer.connect(one.address) as link:
            for _ in range(3):
                await link.call("Status.Ping")
            with pytest.raises(Refused, match=r"can't find service Job\.Plan"):
                await link.call("Job.Plan")
            leader = await link.call("Status.Leader", encode_options(Options()))
            assert decode_text(leader) == one.address
            await one.rpc.stop()
            await link.wait_lost()
            with pytest.raises(Unreached, match="the connection is closed"):
                await link.call("Status.Ping")


def service(**options: Any) -> RpcService:
    """The RPC of one agent."""
    return RpcService("global", lambda module: HeardLog(), http_address=lambda: "127.46.9.9:4646", **options)


async def test_an_agent_of_both_roles_is_a_client_of_itself() -> None:
    async with world() as here:
        both = service(
            pool=PoolSeenBy(here.pool, identity("s1")),
            client=client_settings("s1", [], seed=1, region="global"),
        )
        with socket.socket() as bound:
            bound.bind(("127.46.1.1", 0))
            address = await both.listen("127.46.1.1", 0, bound=bound)
            here.pool.add("s1.global", "127.46.1.1", address.port)
            await both.serve(here.nursery)
            assert both.client is not None
            assert both.remote is not None
            assert both.client.known_servers() == (str(address),)
            await until(lambda: both.client_nodes() == {"ready": 1, "down": 0})
            assert [node.name for node in await both.remote.nodes("")] == ["s1"]
            await both.leave()
            assert both.client_nodes() == {"ready": 0, "down": 1}
            await both.stop()


async def test_an_agent_of_one_role_has_only_that(tmp_path: Path) -> None:
    cert_file, key_file = certificates(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(cert_file, key_file)
    trusting = ssl.create_default_context(cafile=str(cert_file))
    async with world() as here:
        server = service(pool=PoolSeenBy(here.pool, identity("s1")))
        address = str(await server.listen("127.46.1.1", 0))
        server.secure(serving, trusting, optional=True)
        await server.serve(here.nursery)
        assert server.client is None
        plain = service(client=client_settings("c1", [address], seed=1, region="global"))
        secured = service(client=client_settings("c2", [address], seed=2, region="global"))
        secured.secure(None, trusting)
        for client in (plain, secured):
            assert client.server is None
            assert client.client_nodes() == {}
            await client.serve(here.nursery)
        await until(lambda: server.client_nodes() == {"ready": 2, "down": 0})
        for client in (plain, secured):
            await client.leave()
            await client.stop()
        assert server.client_nodes() == {"ready": 0, "down": 2}
