"""The page of a report in a real browser: it runs without complaint, and its slider works by keyboard."""

from pathlib import Path

from moot.agent.report.views import STOPS_MAX
from moot.agent.report.write import write_report
from moot.gossip.sim import lab, library
from tests.browser.chromium import chromium
from tests.unit.report.runs import hostile

LOOK = "return [document.getElementById('now').textContent, document.getElementById('groups').textContent, "
PIXELS = "document.getElementById('matrix').toDataURL()]"
WIDE = "return document.documentElement.scrollWidth"
COMPLAINTS = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}


async def test_the_slider_moves_the_matrix_and_nothing_complains(browser_binary: str, tmp_path: Path) -> None:
    holding = write_report([lab.run(library.scenario("partition-heals"), 1)], tmp_path / "one").page
    harmful = write_report([hostile()], tmp_path / "two").page
    async with chromium(browser_binary, {}) as browser:
        for domain in ("Runtime", "Log", "Network"):
            await browser.call(f"{domain}.enable")
        await browser.call(
            "Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=True
        )
        await browser.open(harmful.as_uri())
        assert await browser.run(WIDE) == 400
        assert browser.heard(COMPLAINTS) == []
        assert len(browser.heard({"Network.requestWillBeSent"})) == 1

        await browser.open(holding.as_uri())
        assert await browser.run(WIDE) == 400
        healed = await browser.run(LOOK + PIXELS)
        assert healed[0].endswith("1 group")
        await browser.run("document.getElementById('slider').focus()")
        for _ in range(STOPS_MAX):
            for kind in ("rawKeyDown", "keyUp"):
                await browser.call("Input.dispatchKeyEvent", type=kind, key="ArrowLeft", windowsVirtualKeyCode=37)
            parted = await browser.run(LOOK + PIXELS)
            if parted[0].endswith("2 groups"):
                break
        assert parted[0].endswith("2 groups")
        assert "3 alive" in parted[1]
        assert parted[2] != healed[2]
        await browser.run("document.querySelector('#deeds .when').click()")
        began = await browser.run(LOOK + PIXELS)
        assert began[0].endswith("1 group")
        assert browser.heard(COMPLAINTS) == []
