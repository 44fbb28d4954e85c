"""The situations of the contract vectors, with real agents on loopback addresses of their own.

The vectors have their agents at 127.0.0.N with the usual ports. Here the same numbers are taken in another /24
(`Place`), and in requests and answers one stands for the other.
"""

import contextlib
import http.client
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moot.http.client import ApiClient, ApiError
from tests.api.live import Answer
from tests.api.situations import KEY
from tests.support.launching import HTTP_PORT, Net, Process, until

OTHER_KEY = "HS5lJ+XuTlYKWaeGYyG+/A=="
PATIENCE = 30.0


class Place:
    """A /24 that stands for 127.0.0.0."""

    def __init__(self) -> None:
        self._prefix = Net().host().rpartition(".")[0]

    def host(self, number: int) -> str:
        """What stands for 127.0.0.`number`."""
        return f"{self._prefix}.{number}"

    def moved(self, case: Mapping[str, Any]) -> dict[str, Any]:
        """The case with the addresses of this place."""
        text = json.dumps(case).replace("127.0.0.", f"{self._prefix}.")
        pattern = self._prefix.replace(".", r"\\.")
        moved: dict[str, Any] = json.loads(text.replace(r"127\\.0\\.0\\.", rf"{pattern}\\."))
        return moved


class Agent(Process):
    """`moot agent` at an address of a place."""

    def __init__(
        self, name: str, host: str, folder: Path, flags: Sequence[str], settings: Mapping[str, object]
    ) -> None:
        super().__init__(name, host, folder)
        self._flags = flags
        self._config = folder / f"{name}.json"
        self._config.write_text(json.dumps(settings))
        self.api = ApiClient(f"http://{host}:{HTTP_PORT}", timeout=PATIENCE)

    def command(self) -> list[str]:
        given = ["--node", self.name, "--bind", self.host, "--profile", "local", "--config", str(self._config)]
        return [sys.executable, "-m", "moot", "agent", *given, *self._flags]

    def answers(self) -> bool:
        try:
            self.api.request("GET", "/v1/regions")
        except ApiError as error:
            return error.status != 0
        return True

    def statuses(self) -> dict[str, str]:
        """Member name to status, in this agent's view."""
        return {it["Name"]: it["Status"] for it in self.api.members()["Members"]}

    def ask(self, request: Mapping[str, Any]) -> Answer:
        """One request of a case, as it is written there."""
        return ask(self.host, request)


def ask(host: str, request: Mapping[str, Any]) -> Answer:
    """Send what a case says and nothing else."""
    with contextlib.closing(http.client.HTTPConnection(host, HTTP_PORT, timeout=PATIENCE)) as connection:
        path = request["path"].replace("<own address>", f"{host}:4648")
        connection.putrequest(request["method"], path, skip_accept_encoding=True)
        for name, value in request.get("headers", {}).items():
            connection.putheader(name, value)
        body = request.get("body", "").encode()
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, headers, answer.read())


@dataclass
class Stage:
    """Where a situation is set up."""

    place: Place
    folder: Path
    stack: ExitStack
    agents: list[Agent] = field(default_factory=list)

    def start(self, name: str, number: int, *flags: str, settings: Mapping[str, object] | None = None) -> Agent:
        """Start an agent at 127.0.0.`number`; it is ended with the stage."""
        agent = Agent(name, self.place.host(number), self.folder, flags, settings or {})
        agent.launch()
        self.stack.callback(agent.kill)
        agent.wait()
        self.agents.append(agent)
        return agent

    def join(self) -> None:
        """Make one pool of all agents, and wait until they agree."""
        first, *others = self.agents
        for other in others:
            assert other.api.join([first.host])[0] == 1
        self.wait(lambda: all(list(it.statuses().values()) == ["alive"] * len(self.agents) for it in self.agents))

    def wait(self, holds: Callable[[], bool]) -> None:
        """Until a condition holds."""
        until("the situation is there", holds, PATIENCE, self.agents)

    def end(self, name: str, status: str) -> None:
        """Kill an agent, or let it leave, until the first one sees it so."""
        (agent,) = (it for it in self.agents if it.name == name)
        if status == "left":
            agent.api.leave()
        agent.process.wait(PATIENCE) if status == "left" else agent.kill()
        self.agents.remove(agent)
        full = next(it for it in self.agents[0].statuses() if it.startswith(f"{name}."))
        self.wait(lambda: self.agents[0].statuses()[full] == status)


@contextlib.contextmanager
def staged(folder: Path, build: Callable[[Stage], None]) -> Iterator[Stage]:
    """Set a situation up; the agent that is asked is the first one."""
    with ExitStack() as stack:
        stage = Stage(Place(), folder, stack)
        build(stage)
        yield stage


def server(*flags: str, **settings: object) -> Callable[[Stage], None]:
    """s1, alone."""

    def build(stage: Stage) -> None:
        stage.start("s1", 2, *flags, settings=settings)

    return build


def dev(stage: Stage) -> None:
    stage.start("bacon-mac", 1, "--dev")


def servers(stage: Stage, *flags: str) -> None:
    for number in (1, 2, 3):
        stage.start(f"s{number}", number + 1, *flags, settings={"server": {"bootstrap_expect": 3}})
    stage.join()


def third(status: str) -> Callable[[Stage], None]:
    """s1, s2 and s3, of which the last one failed or left."""

    def build(stage: Stage) -> None:
        servers(stage)
        stage.end("s3", status)

    return build


def force_left(*flags: str) -> Callable[[Stage], None]:
    """s1, s2 and s3, of which the last one failed and was made to leave."""

    def build(stage: Stage) -> None:
        servers(stage, *flags)
        stage.end("s3", "failed")
        stage.agents[0].api.force_leave("s3.global")
        stage.wait(lambda: all(it.statuses()["s3.global"] == "left" for it in stage.agents))

    return build


def two_regions(stage: Stage) -> None:
    stage.start("s1", 2)
    stage.start("e1", 4, "--region", "eu")
    stage.join()


def eu_failed(stage: Stage) -> None:
    two_regions(stage)
    stage.end("e1", "failed")


def beside(name: str, number: int, *flags: str, own: Sequence[str] = ()) -> Callable[[Stage], None]:
    """s1, and another agent that is not joined."""

    def build(stage: Stage) -> None:
        stage.start("s1", 2 if number != 2 else 3, *own)
        stage.start(name, number, *flags)

    return build


def apart(stage: Stage) -> None:
    for number in (1, 2, 3):
        stage.start(f"s{number}", number + 1)


def client(*told: int, running: Sequence[int] = (), killed: bool = False) -> Callable[[Stage], None]:
    """c1, which is a client only, and servers that are joined; who runs and whom c1 is told, by their numbers."""

    def build(stage: Stage) -> None:
        known = ",".join(stage.place.host(number) for number in told)
        asked = stage.start("c1", 8, "--client", *(["--servers", known] if known else []))
        servers = [stage.start(f"s{number - 1}", number) for number in running or told]
        for other in servers[1:]:
            assert other.api.join([servers[0].host])[0] == 1
        stage.wait(lambda: all(list(it.statuses().values()) == ["alive"] * len(servers) for it in servers))
        if told:
            stage.wait(lambda: asked.api.self_()["stats"]["client"]["server"] != "")
        if killed:
            for one in servers:
                one.kill()

    return build


LIVE: dict[str, Callable[[Stage], None]] = {
    **dict.fromkeys(("any", "server", "server only", "server only, with leader", "server, ACLs off"), server()),
    "server without scheduler workers": server(),
    "server, enable_debug not set": server(),
    "server, prometheus_metrics not set": server(),
    "server, acl { enabled = true }, no policies": server(acl={"enabled": True}),
    "one server, bootstrap_expect 3, never joined": server(server={"bootstrap_expect": 3}),
    "server with encrypt set to cg8StVXbQJ0gPvMd9o7yrg==": server("--encrypt", KEY),
    'http_api_response_headers { "x-custom-one" = "abc" }': server(http_api_response_headers={"x-custom-one": "abc"}),
    **dict.fromkeys(("dev", "dev, no other option", "dev, node name bacon-mac", "dev (no encryption)"), dev),
    **dict.fromkeys(
        ("3 servers joined", "3 alive servers, asked at s1", "3 servers s1 s2 s3 joined, bootstrap_expect 3"), servers
    ),
    **dict.fromkeys(
        ("client", "client only", "client only, no servers", "client only, advertise.serf not set"), client()
    ),
    **dict.fromkeys(
        ("client only with a server", "client only, server 127.0.0.2", "client only, its server is s1"), client(2)
    ),
    "client only, its server was killed": client(2, killed=True),
    "client only; servers s1 127.0.0.2 and s2 127.0.0.3 up": client(running=(2, 3)),
    "client only, list was 127.0.0.2 and 127.0.0.3": client(2, 3),
    "3 servers, s3 failed, asked at s1": third("failed"),
    "3 servers, s3 left, asked at s1": third("left"),
    "s1 and s2 alive, s3 left, asked at s1": third("left"),
    "3 servers, s3 force-left before": force_left(),
    "3 servers, s3 failed then force-left; asked at s1; encryption on": force_left("--encrypt", KEY),
    **dict.fromkeys(
        ("s1 in global, e1 in eu", "s1 in global, e1 in eu, joined", "s1 in global, e1 127.0.0.4 in eu"), two_regions
    ),
    "s1 in global, the only eu server failed": eu_failed,
    "server; two other servers up": apart,
    "3 servers not joined yet (127.0.0.2, .3, .4), nothing at 127.0.0.9, asked at 127.0.0.2": apart,
    "server; at 127.0.0.5 a gossip agent without tag role=nomad, named plain": beside("plain", 5, "--pool", "serf"),
    "server without encrypt; 127.0.0.2 encrypted": beside("s2", 2, "--encrypt", KEY),
    "server with encrypt; 127.0.0.5 plain": beside("s2", 5, own=("--encrypt", KEY)),
    "server with key A; 127.0.0.2 with key B": beside("s2", 2, "--encrypt", OTHER_KEY, own=("--encrypt", KEY)),
    f"3 servers, encrypt = {KEY}": lambda stage: servers(stage, "--encrypt", KEY),
}
