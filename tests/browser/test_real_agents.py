"""Real agents behind a real browser: what its pages try leaves the pool as it is, and who may changes it."""

import json

import trio

from tests.browser.chromium import chromium
from tests.browser.test_foreign_pages import ELSEWHERE, TRY, any_page, start
from tests.cli.running import launched, until


async def test_a_page_can_neither_join_agents_nor_make_a_failed_one_leave(browser_binary: str) -> None:
    with (
        launched("--node", "one", "--profile", "local") as one,
        launched("--node", "two", "--profile", "local") as two,
    ):
        async with trio.open_nursery() as nursery, chromium(browser_binary, {}) as browser:
            page = await start(nursery, ELSEWHERE, any_page)
            await browser.open(page.url)

            async def attack(path: str) -> None:
                for method, options in (("POST", "{mode: 'no-cors'}"), ("POST", "{}"), ("PUT", "{}")):
                    wish = f"return await tried('{method}', {json.dumps(one.url + path)}, {options})"
                    tried = await browser.run(TRY + wish)
                    assert tried.get("status", 0) == 0, tried

            gossip = two.started["gossip"]
            await attack(f"/v1/agent/join?address={gossip}")
            assert one.statuses() == {"one.global": "alive"}
            assert one.client.join([gossip]) == (1, "")
            until(lambda: one.statuses() == two.statuses() != {"one.global": "alive"}, "a pool of two")

            two.process.kill()
            until(lambda: one.statuses().get("two.global") == "failed", "the failure is known")
            await attack("/v1/agent/force-leave?node=two.global")
            assert one.statuses()["two.global"] == "failed"
            await attack("/v1/moot/leave")
            assert one.statuses()["one.global"] == "alive"
            one.client.force_leave("two.global")
            assert one.statuses()["two.global"] == "left"
            nursery.cancel_scope.cancel()
