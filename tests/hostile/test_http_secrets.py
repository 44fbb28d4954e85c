"""Secrets stay inside: a real agent gets keys and tokens that are easy to find; all that comes out is searched."""

import base64
import contextlib
import hashlib
import http.client
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moot.http.api import build_api
from moot.http.counters import HttpCounters
from tests.api.scripted import ScriptedBackend, identity
from tests.cli.running import MOOT, PATIENCE, RunningAgent, launched

GOSSIP_KEY = base64.b64encode(b"canary-of-the-gossip-key-32bytes").decode()
OTHER_KEY = base64.b64encode(b"canary-of-some-other-key-32bytes").decode()
BROKEN_KEY = "canary-that-is-no-base64"
IPC_KEY = "canary-of-the-client-rpc"
TOKEN = "canary-of-a-token"
WRONG_TOKEN = "canary-of-a-wrong-token"
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
GIVEN = (GOSSIP_KEY, OTHER_KEY, BROKEN_KEY, IPC_KEY, TOKEN, WRONG_TOKEN, DIGEST)
CANARIES = [
    *GIVEN,
    *(base64.b64decode(key).decode() for key in (GOSSIP_KEY, OTHER_KEY)),
    *(base64.b64decode(key).hex() for key in (GOSSIP_KEY, OTHER_KEY)),
]
"""Whatever form they take."""
STREAMS = ("/v1/agent/monitor", "/v1/moot/query", "/v1/moot/events")
SHOWS_KEYS = "/v1/agent/keyring/list"
"""Nomad's list of keys has the keys; it needs the strongest right."""
BODIES = (
    *({"Key": key} for key in (GOSSIP_KEY, OTHER_KEY, BROKEN_KEY, BROKEN_KEY * 3)),
    *({"key": key, "force": "no boolean"} for key in (OTHER_KEY, BROKEN_KEY)),
    *({"Key": [OTHER_KEY]}, {"Key": {OTHER_KEY: BROKEN_KEY}}, [BROKEN_KEY], BROKEN_KEY),
)


def configuration(folder: Path, key: str = GOSSIP_KEY, **more: object) -> Path:
    path = folder / "agent.json"
    tokens = {"ops": f"management sha256:{DIGEST}"}
    tree = {
        "server": {"encrypt": key},
        "moot": {"ipc_addr": "127.0.0.1:0", "ipc_auth": IPC_KEY},
        "acl": {"enabled": True, "tokens": tokens},
    }
    path.write_text(json.dumps({**tree, **more}))
    return path


def found(text: str) -> list[str]:
    """The secrets that are in a text."""
    return [canary for canary in CANARIES if canary.lower() in text.lower()]


class Asker:
    """Asks one agent, and keeps all it says."""

    def __init__(self, agent: RunningAgent) -> None:
        self._host, _, port = str(agent.started["http"]).rpartition(":")
        self._port = int(port)
        self.heard: dict[str, str] = {}
        self.refusals = 0

    def ask(
        self, method: str, path: str, token: str = TOKEN, body: bytes = b"", scheme: str = "X-Nomad-Token"
    ) -> None:
        link = http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE)
        value = f"Bearer {token}" if scheme == "Authorization" else token
        with contextlib.closing(link):
            link.request(method, path, body, {scheme: value})
            answer = link.getresponse()
            text = "" if path.startswith(STREAMS) and answer.status == 200 else answer.read().decode()
        self.refusals += answer.status >= 400
        self.heard[f"{method} {path} {len(self.heard)}"] = f"{answer.headers}\n{text}"

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Hear the log over HTTP meanwhile."""
        link = http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE)
        with contextlib.closing(link):
            link.request("GET", "/v1/agent/monitor?plain=true&log_level=trace", headers={"X-Nomad-Token": TOKEN})
            answer = link.getresponse()
            assert answer.status == 200
            yield
            link.sock.settimeout(0.5)
            text = ""
            with contextlib.suppress(TimeoutError):
                while data := answer.read1(65_536):
                    text += data.decode()
            assert text
            self.heard["monitor"] = text


def paths() -> list[str]:
    """Every route, but those that end the agent."""
    known = build_api(ScriptedBackend(identity("s1"), []), counters=HttpCounters())._exact
    return [path for path in known if path != "/v1/moot/leave"]


def test_no_answer_error_or_log_line_has_a_secret_in_it(tmp_path: Path) -> None:
    path = configuration(tmp_path)
    with launched("--config", str(path), "--log-level", "trace", "--data-dir", str(tmp_path)) as agent:
        asker = Asker(agent)
        with asker.following():
            for route in paths():
                if route != SHOWS_KEYS:
                    asker.ask("GET", route)
                asker.ask("GET", route, WRONG_TOKEN)
                asker.ask("GET", route, WRONG_TOKEN, scheme="Authorization")
                asker.ask("PUT", route, "")
            for route in ("install", "use", "remove"):
                for body in (
                    *map(json.dumps, BODIES),
                    f'{{"Key": "{OTHER_KEY}',
                    f'{{"Key": "{OTHER_KEY}"}} {BROKEN_KEY}',
                ):
                    asker.ask("PUT", f"/v1/agent/keyring/{route}", body=body.encode())
                    asker.ask("PUT", f"/v1/moot/keys/{route}", body=body.encode())
            asker.ask("GET", "/v1/moot/keys")
            for broken in ({"key": BROKEN_KEY}, {"acl": {"tokens": {"x": TOKEN}}}, {"moot": {"ipc_auth": [IPC_KEY]}}):
                configuration(tmp_path, **broken)
                reloads = len(agent.lines("Reloading configuration..."))
                agent.process.send_signal(signal.SIGHUP)
                agent.wait_for("Reloading configuration...", reloads + 1)
                agent.wait_for("configuration not reloaded, the old one stays", reloads + 1)
                asker.ask("PUT", "/v1/agent/reload")
        log = agent.text()
    assert asker.refusals > 50
    assert {where: found(said) for where, said in asker.heard.items() if found(said)} == {}
    assert [line for line in log.splitlines() if found(line)] == []


def test_the_list_of_keys_is_where_a_key_would_be_found(tmp_path: Path) -> None:
    with launched("--config", str(configuration(tmp_path))) as agent:
        asker = Asker(agent)
        asker.ask("GET", SHOWS_KEYS)
        assert [found(said) for said in asker.heard.values()] == [[GOSSIP_KEY]]


@pytest.mark.parametrize(
    "broken",
    [
        {"server": {"encrypt": BROKEN_KEY}},
        {"server": {"encrypt": [OTHER_KEY]}},
        {"server": {"encrypt": OTHER_KEY[:-4]}},
        {"server": OTHER_KEY},
        {"moot": {"ipc_auth": {"secret": IPC_KEY}}},
        {"acl": {"enabled": True, "tokens": {"ops": TOKEN}}},
        {"acl": {"enabled": True, "tokens": {"ops": f"management sha256:{DIGEST}x"}}},
        {"acl": {"enabled": True, "tokens": [f"management sha256:{DIGEST}"]}},
    ],
)
def test_an_error_of_the_configuration_does_not_repeat_a_secret(tmp_path: Path, broken: dict[str, Any]) -> None:
    path = configuration(tmp_path, **broken)
    command = [*MOOT, "agent", "--config", str(path), "--http-port", "0", "--rpc-port", "0", "--serf-port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode != 0
    assert f"{path}: " in done.stderr
    assert found(done.stdout + done.stderr) == []
