"""Mutual TLS between agents on the RPC port, with the contexts of a `tls` block."""

from pathlib import Path

import pytest
import trio

from moot.agent.nomad.client import Dialer
from moot.agent.nomad.errors import Unreached
from moot.agent.tls import TlsContexts, TlsSettings, build_contexts
from tests.support.certificates import DAY, NOW, Authority, Pair
from tests.support.nomad import world

HOST = "127.41.4.1"


def contexts(authority: Authority, pair: Pair, *, verify: bool = False) -> TlsContexts:
    settings = TlsSettings(
        rpc=True,
        ca_file=authority.ca_file,
        cert_file=pair.cert_file,
        key_file=pair.key_file,
        verify_server_hostname=verify,
    )
    return build_contexts(settings)


async def test_agents_of_one_authority_reach_each_other_and_nobody_else_does(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    member = contexts(authority, authority.issue("member")).rpc_client
    expired = contexts(authority, authority.issue("expired", life=(NOW - 9 * DAY, NOW - DAY))).rpc_client
    foreign = contexts(stranger, stranger.issue("foreign")).rpc_client
    async with world() as it:
        server = await it.start("s1", HOST)
        server.rpc.tls = contexts(authority, authority.issue("server")).rpc_server
        with trio.fail_after(30):
            await Dialer("global", tls=member).ping(server.address)
            for context in (None, expired, foreign):
                with pytest.raises(Unreached):
                    await Dialer("global", tls=context).ping(server.address)


async def test_the_name_of_a_server_counts_when_it_is_asked_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    member = authority.issue("member")
    loose, strict = (contexts(authority, member, verify=verify).rpc_client for verify in (False, True))
    async with world() as it:
        server = await it.start("s1", HOST)
        with trio.fail_after(30):
            for names, reached in ((["server.global.nomad"], True), (["client.global.nomad"], False)):
                server.rpc.tls = contexts(authority, authority.issue("server", names=names)).rpc_server
                await Dialer("global", tls=loose).ping(server.address)
                if reached:
                    await Dialer("global", tls=strict).ping(server.address)
                else:
                    with pytest.raises(Unreached):
                        await Dialer("global", tls=strict).ping(server.address)


async def test_a_connection_lives_on_when_both_sides_take_new_certificates(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    async with world() as it:
        server = await it.start("s1", HOST)
        server.rpc.tls = contexts(old, old.issue("server")).rpc_server
        dialer = Dialer("global", tls=contexts(old, old.issue("member")).rpc_client)
        with trio.fail_after(30):
            async with await dialer.connect(server.address) as link:
                await link.call("Status.Ping")
                server.rpc.tls = contexts(new, new.issue("server")).rpc_server
                await link.call("Status.Ping")
                with pytest.raises(Unreached):
                    await dialer.ping(server.address)
                dialer.tls = contexts(new, new.issue("member")).rpc_client
                await dialer.ping(server.address)
                await link.call("Status.Ping")
