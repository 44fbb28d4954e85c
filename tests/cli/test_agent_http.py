"""The HTTP port of a real agent: the names that it answers to, TLS; and TLS of its RPC port."""

import http.client
import json
import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from moot.agent.nomad.client import Dialer
from moot.agent.nomad.errors import RpcError
from moot.agent.tls import TlsSettings, build_contexts
from moot.http.client import ApiClient, ApiError
from moot.http.client_tls import ClientTls
from tests.cli.running import PATIENCE, RunningAgent, launched
from tests.support.certificates import Authority, Pair

pytestmark = pytest.mark.live


def status_for(agent: RunningAgent, host: str) -> int:
    """What the agent answers to who calls it so."""
    address, _, port = agent.started["http"].rpartition(":")
    connection = http.client.HTTPConnection(address, int(port), timeout=PATIENCE)
    try:
        connection.request("GET", "/v1/agent/self", headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def test_an_agent_answers_only_to_its_own_names_and_to_those_that_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    file.write_text(json.dumps({"moot": {"http_hosts": ["*.wide.example"]}}))
    with launched("--node", "web-1", "--config", str(file)) as agent:
        port = agent.started["http"].rpartition(":")[2]
        for known in ("127.0.0.1", "10.1.2.3", "[::1]", "localhost", "web-1", "web-1.global", "a.wide.example"):
            assert status_for(agent, f"{known}:{port}") == 200, known
        assert status_for(agent, f"evil.example:{port}") == 403

        file.write_text(json.dumps({"moot": {"http_hosts": ["evil.example"]}}))
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("configuration reloaded")
        assert status_for(agent, "evil.example") == 200
        assert status_for(agent, "a.wide.example") == 403


def secured(file: Path, authority: Authority, pair: Pair, **more: object) -> None:
    """Write a configuration with TLS for HTTP."""
    block = {"http": True, "ca_file": authority.ca_file, "cert_file": pair.cert_file, "key_file": pair.key_file}
    file.write_text(json.dumps({"tls": block | more}))


def test_an_agent_speaks_tls_and_renews_its_certificate_on_a_hangup(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    file = tmp_path / "tls.json"
    secured(file, authority, authority.issue("one", ips=["127.0.0.1"]))
    with launched("--config", str(file)) as agent:

        def client(by: Authority) -> ApiClient:
            return ApiClient(f"https://{agent.started['http']}", timeout=PATIENCE, tls=ClientTls(ca_file=by.ca_file))

        told = client(authority).self_()["config"]["TLSConfig"]
        assert (told["EnableHTTP"], told["KeyFile"]) == (True, str(tmp_path / "one.key"))
        with pytest.raises(ApiError, match="TLS"):
            agent.client.self_()

        file.write_text(json.dumps({"tls": {"http": True}}))
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("configuration not reloaded, the old one stays")
        client(authority).self_()

        secured(file, authority, other.issue("two", ips=["127.0.0.1"]))
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("configuration reloaded")
        client(other).self_()
        with pytest.raises(ApiError, match="not trusted"):
            client(authority).self_()
        agent.wait_for("TLS handshake failed")


def test_mutual_tls_keeps_out_who_shows_no_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("one", ips=["127.0.0.1"])
    file = tmp_path / "tls.json"
    secured(file, authority, pair, verify_https_client=True)
    with launched("--config", str(file)) as agent:
        url = f"https://{agent.started['http']}"
        shown = ClientTls(ca_file=authority.ca_file, cert_file=pair.cert_file, key_file=pair.key_file)
        assert ApiClient(url, timeout=PATIENCE, tls=shown).self_()["config"]["TLSConfig"]["EnableHTTP"]
        with pytest.raises(ApiError):
            ApiClient(url, timeout=PATIENCE, tls=ClientTls(ca_file=authority.ca_file)).self_()


def test_an_agent_does_not_start_with_files_for_tls_that_are_not_there(tmp_path: Path) -> None:
    file = tmp_path / "tls.json"
    secured(file, Authority(tmp_path), Pair(str(tmp_path / "gone.pem"), str(tmp_path / "gone.key")))
    with launched("--config", str(file), ready=False) as agent:
        assert agent.process.wait(PATIENCE) == 1
        assert "tls.cert_file" in agent.text()
        assert "Traceback" not in agent.text()


def test_the_rpc_port_speaks_mutual_tls_and_in_upgrade_mode_plain_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("one", names=["server.global.nomad"])
    file = tmp_path / "tls.json"
    secured(file, authority, pair, http=False, rpc=True, verify_server_hostname=True)
    settings = TlsSettings(
        rpc=True,
        ca_file=authority.ca_file,
        cert_file=pair.cert_file,
        key_file=pair.key_file,
        verify_server_hostname=True,
    )
    plain, secure = Dialer("global"), Dialer("global")
    secure.tls = build_contexts(settings).rpc_client
    with launched("--config", str(file)) as agent:
        trio.run(partial(secure.ping, agent.started["rpc"], within=PATIENCE))
        with pytest.raises(RpcError):
            trio.run(partial(plain.ping, agent.started["rpc"], within=PATIENCE))

        secured(file, authority, pair, http=False, rpc=True, rpc_upgrade_mode=True)
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("configuration reloaded")
        trio.run(partial(plain.ping, agent.started["rpc"], within=PATIENCE))
        trio.run(partial(secure.ping, agent.started["rpc"], within=PATIENCE))
