"""A page of another site, in a real browser, cannot join, force-leave or read; nor can one that rebinds its name.

Every attack is also shown to have reached the agent, which refused it, and to work for who may: a browser that sent
nothing, or an agent that does nothing, would prove nothing.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from moot.http.api import build_api
from moot.http.client import ApiClient
from moot.http.counters import HttpCounters
from moot.http.exchange import HTML, Application, Request, Response
from moot.http.hosts import KnownHosts
from moot.http.server import HttpServer
from tests.api.scripted import ScriptedBackend, identity, made, server_tags
from tests.browser.chromium import Chromium, chromium

AGENT = "127.41.3.1"
ELSEWHERE = "127.41.3.2"
RELAY = "127.41.3.3"
EVIL = "evil.example"
SECRET = "s2-of-the-secret-pool.global"
"""A member whose name no page may learn."""
PAGE = b"<!doctype html><title>any page</title><p id=here>here"

READS = (
    *("/v1/agent/members", "/v1/agent/self", "/v1/moot/agent", "/v1/regions", "/v1/moot/tags", "/ui/"),
    *("/v1/moot/view", "/v1/moot/events?follow=false&after=start"),
)
JOIN = "/v1/agent/join?address=127.0.0.66"
FORCE_LEAVE = f"/v1/agent/force-leave?node={SECRET}"
LEAVE = "/v1/moot/leave"
CHANGES = (JOIN, FORCE_LEAVE, LEAVE)

TRY = """
const tried = async (method, url, options = {}) => {
    try {
        const answer = await fetch(url, {method, ...options});
        return {status: answer.status, type: answer.type, text: await answer.text()};
    } catch (error) {
        return {error: String(error)};
    }
};
"""


@dataclass
class Site:
    """A server, and what it was asked and answered."""

    url: str
    seen: list[tuple[str, str, int]] = field(default_factory=list)

    def statuses(self, method: str, path: str) -> set[int]:
        return {status for was, target, status in self.seen if (was, target) == (method, path)}


async def start(nursery: trio.Nursery, host: str, application: Application, port: int = 0) -> Site:
    """Serve until the nursery is cancelled."""
    site = Site("")

    async def watched(request: Request) -> Response:
        response = await application(request)
        site.seen.append((request.method, request.target, response.status))
        return response

    bugs: list[str] = []
    server = HttpServer(watched, report=lambda what, error: bugs.append(f"{what}: {error}"))
    (address,) = await server.listen([(host, port)])
    site.url = f"http://{address}"
    await nursery.start(server.serve)
    return site


async def any_page(request: Request) -> Response:
    """A page; below `/nameless` its origin is null."""
    sandbox = [(b"Content-Security-Policy", b"sandbox allow-scripts allow-forms")]
    more = sandbox if request.target.startswith("/nameless") else []
    return Response(200, [(b"Content-Type", HTML), *more], PAGE)


@dataclass
class World:
    """An agent, pages elsewhere and on the agent's own IP, and a browser."""

    agent: Site
    elsewhere: Site
    neighbour: Site
    backend: ScriptedBackend
    browser: Chromium
    relay: "Relay"

    async def unharmed(self, attack: str) -> None:
        """Run an attack in the present page; it may neither learn the secret nor change anything."""
        learnt = json.dumps(await self.browser.run(TRY + attack))
        assert SECRET not in learnt
        assert self.backend.calls == []
        assert not self.backend.left


class Relay:
    """What a name points at: first a server of the page, after `rebind` the agent, byte for byte."""

    def __init__(self, page: Site, agent: Site) -> None:
        self._page, self._agent = page, agent
        self.rebound = False
        self.port = 0

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host=RELAY)
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._carry, listeners)

    async def _carry(self, outside: trio.SocketStream) -> None:
        try:
            first = await outside.receive_some(65_536)  # browsers connect before they have anything to ask
        except trio.BrokenResourceError:
            return
        rebound = self.rebound
        host, _, port = (self._agent if rebound else self._page).url.removeprefix("http://").rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as inside, trio.open_nursery() as nursery:

            async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
                with contextlib.suppress(trio.BrokenResourceError):
                    while data := await source.receive_some(65_536):
                        await sink.send_all(data)
                        if not rebound and sink is outside:
                            break  # one answer, so that the browser connects anew after the rebinding
                nursery.cancel_scope.cancel()

            await inside.send_all(first)
            nursery.start_soon(pump, outside, inside)
            nursery.start_soon(pump, inside, outside)


@asynccontextmanager
async def world(binary: str) -> AsyncIterator[World]:
    members = [made("s1.global", "127.0.0.2", server_tags()), made(SECRET, "127.0.0.3", server_tags())]
    backend = ScriptedBackend(identity("s1"), members)
    api = KnownHosts(build_api(backend, counters=HttpCounters()))
    async with trio.open_nursery() as nursery:
        agent = await start(nursery, AGENT, api)
        elsewhere = await start(nursery, ELSEWHERE, any_page)
        neighbour = await start(nursery, AGENT, any_page)
        relay = Relay(elsewhere, agent)
        await nursery.start(relay.serve)
        async with chromium(binary, {EVIL: RELAY}) as browser:
            yield World(agent, elsewhere, neighbour, backend, browser, relay)
        nursery.cancel_scope.cancel()


def page_elsewhere(it: World) -> str:
    return it.elsewhere.url


def page_on_another_port(it: World) -> str:
    """To browsers the same site, but another origin."""
    return it.neighbour.url


def page_without_an_origin(it: World) -> str:
    return f"{it.elsewhere.url}/nameless"


foreign = pytest.mark.parametrize("page", [page_elsewhere, page_on_another_port, page_without_an_origin])


@foreign
async def test_a_foreign_page_reads_nothing(browser_binary: str, page: Callable[[World], str]) -> None:
    async with world(browser_binary) as it:
        await it.browser.open(page(it))
        for path in READS:
            url = json.dumps(it.agent.url + path)
            await it.unharmed(f"return [await tried('GET', {url}), await tried('GET', {url}, {{mode: 'no-cors'}})]")
            assert it.agent.statuses("GET", path) <= {200, 403}
            assert it.agent.statuses("GET", path)
        await it.unharmed(
            f"""
            const url = {json.dumps(it.agent.url)} + '/v1/agent/members';
            const frame = document.createElement('iframe');
            frame.src = url;
            const loaded = new Promise(done => {{ frame.onload = done; }});
            document.documentElement.append(frame);
            await loaded;
            let read;
            try {{ read = frame.contentWindow.document.body.innerText; }} catch (error) {{ read = String(error); }}
            const script = document.createElement('script');
            script.src = url;
            const ended = new Promise(done => {{ script.onload = script.onerror = done; }});
            document.documentElement.append(script);
            await ended;
            return [read, Object.keys(window).length];
            """
        )


@foreign
@pytest.mark.parametrize("path", CHANGES)
async def test_a_foreign_page_changes_nothing(browser_binary: str, page: Callable[[World], str], path: str) -> None:
    async with world(browser_binary) as it:
        await it.browser.open(page(it))
        url = json.dumps(it.agent.url + path)
        for options in ("{}", "{mode: 'no-cors', body: 'x'}", "{credentials: 'include'}"):
            await it.unharmed(f"return await tried('POST', {url}, {options})")
        await it.unharmed(f"return await tried('PUT', {url})")
        await it.unharmed(f"return navigator.sendBeacon({url}, 'x')")
        await it.unharmed(
            f"""
            const frame = document.createElement('iframe');
            frame.name = 'target';
            const form = document.createElement('form');
            Object.assign(form, {{method: 'POST', action: {url}, target: 'target'}});
            document.documentElement.append(frame, form);
            const loaded = new Promise(done => {{ frame.onload = done; }});
            form.submit();
            await loaded;
            const image = new Image();
            const ended = new Promise(done => {{ image.onload = image.onerror = done; }});
            image.src = {url};
            await ended;
            """
        )
        assert it.agent.statuses("POST", path) == {403}
        assert it.agent.statuses("PUT", path) == set()
        assert it.agent.statuses("OPTIONS", path) == {405}
        assert it.agent.statuses("GET", path) == {405}


async def test_a_page_that_points_its_name_at_the_agent_reads_and_changes_nothing(browser_binary: str) -> None:
    async with world(browser_binary) as it:
        await it.browser.open(f"http://{EVIL}:{it.relay.port}/")
        assert await it.browser.run("return document.getElementById('here').innerText") == "here"
        it.relay.rebound = True
        for path in READS:
            await it.unharmed(f"return await tried('GET', '{path}')")
            assert it.agent.statuses("GET", path) == {403}
        for path in CHANGES:
            await it.unharmed(f"return [await tried('POST', '{path}'), await tried('PUT', '{path}')]")
            assert it.agent.statuses("POST", path) == it.agent.statuses("PUT", path) == {403}
        await it.browser.open(f"http://{EVIL}:{it.relay.port}/v1/agent/members")
        await it.unharmed("return document.documentElement.innerText")


async def test_the_agents_own_page_may_do_what_its_reader_may(browser_binary: str) -> None:
    async with world(browser_binary) as it:
        await it.browser.open(f"{it.agent.url}/ui/")
        members = await it.browser.run(TRY + "return await tried('GET', '/v1/agent/members')")
        assert SECRET in members["text"]
        joined = await it.browser.run(TRY + f"return await tried('POST', '{JOIN}')")
        assert joined["status"] == 200
        assert it.backend.calls == [("join", "127.0.0.66")]


async def test_a_tool_may_do_what_pages_may_not(browser_binary: str) -> None:
    async with world(browser_binary) as it:
        api = ApiClient(it.agent.url)
        assert SECRET in {member["Name"] for member in (await trio.to_thread.run_sync(api.members))["Members"]}
        await trio.to_thread.run_sync(api.join, ["127.0.0.66"])
        await trio.to_thread.run_sync(api.force_leave, SECRET)
        assert it.backend.calls == [("join", "127.0.0.66"), ("force_leave", SECRET, False)]
