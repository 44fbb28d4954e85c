"""The stream of events in a real browser's EventSource: a page of the agent's own follows it, and comes back."""

import trio

from moot.http.api import build_api
from moot.http.counters import HttpCounters
from moot.http.server import HttpServer
from tests.api.situations import three
from tests.browser.chromium import chromium
from tests.support.pool import until

AGENT = "127.41.3.4"
FOLLOW = """
window.told = [];
window.source = new EventSource('/v1/moot/events?kind=suspected&kind=failed&kind=joined');
source.onmessage = (event) => told.push([event.lastEventId.split('.')[1], JSON.parse(event.data).kind]);
await new Promise((resolve) => { source.onopen = resolve; });
"""


async def test_a_page_follows_loses_its_connection_and_misses_nothing(browser_binary: str) -> None:
    backend = three()
    insight = backend.operations.insight
    bugs: list[str] = []
    api = build_api(backend, counters=HttpCounters())
    server = HttpServer(api, report=lambda what, error: bugs.append(f"{what}: {error}"))
    (address,) = await server.listen([(AGENT, 0)])
    async with trio.open_nursery() as nursery, chromium(browser_binary, {}) as browser:
        await nursery.start(server.serve)
        await browser.open(f"http://{address}/ui/")
        await browser.run(FOLLOW)

        async def told(count: int) -> object:
            wanted = f"while (told.length < {count}) await new Promise((go) => setTimeout(go, 20)); return told"
            return await browser.run(wanted)

        insight.happen("suspected")
        assert await told(1) == [["1", "suspected"]]
        for scope in list(server.streams):
            scope.cancel()
        await until(lambda: not server.streams)
        insight.happen("failed")
        insight.happen("left")
        insight.happen("joined")
        assert await told(3) == [["1", "suspected"], ["2", "failed"], ["4", "joined"]]
        nursery.cancel_scope.cancel()
    assert not bugs
