"""A real headless Chromium, driven by the DevTools protocol through a pair of pipes: no port, no driver, no library.

It finds no host but those of 127.0.0.0/8 and the names that a test gives it.
"""

import fcntl
import json
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
    *("--no-first-run", "--no-default-browser-check", "--disable-default-apps", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-pings"),
    *("--disable-domain-reliability", "--disable-client-side-phishing-detection", "--metrics-recording-only"),
)
PATIENCE = 60.0
"""Seconds for one command; generous, the machine may be busy."""


class Chromium:
    """One page of a running browser."""

    def __init__(self, commands: trio.lowlevel.FdStream, answers: trio.lowlevel.FdStream) -> None:
        self._commands = commands
        self._answers = answers
        self._buffer = bytearray()
        self._session = ""
        self._last = 0
        self._events: list[str] = []

    async def attach(self) -> None:
        """Open the page."""
        target = (await self.call("Target.createTarget", url="about:blank"))["targetId"]
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        await self.call("Page.enable")

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        """One command and its result."""
        self._last += 1
        message: dict[str, object] = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        with trio.fail_after(PATIENCE):
            await self._commands.send_all(json.dumps(message).encode() + b"\0")
            while (answer := await self._receive()).get("id") != self._last:
                self._events.append(str(answer.get("method")))
        assert "error" not in answer, answer
        return dict(answer["result"])

    async def open(self, url: str) -> None:
        """Load a page, wholly."""
        self._events.clear()
        done = await self.call("Page.navigate", url=url)
        assert "errorText" not in done, done
        with trio.fail_after(PATIENCE):
            while "Page.loadEventFired" not in self._events:
                self._events.append(str((await self._receive()).get("method")))

    def heard(self, kinds: Collection[str]) -> list[str]:
        """Which events of these kinds came since the page was opened; of domains that were enabled."""
        return [kind for kind in self._events if kind in kinds]

    async def run(self, script: str) -> Any:  # noqa: ANN401 - JSON of any shape
        """What the body of an async function returns in the page, as JSON."""
        wish = f"(async () => {{ {script} }})()"
        done = await self.call("Runtime.evaluate", expression=wish, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    async def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = await self._answers.receive_some(65_536)
            assert data, "the browser ended"
            self._buffer += data
        message, _, rest = self._buffer.partition(b"\0")
        self._buffer = bytearray(rest)
        return dict(json.loads(message))


@asynccontextmanager
async def chromium(binary: str, names: Mapping[str, str]) -> AsyncIterator[Chromium]:
    """A browser that knows these host names, with their IPs, and no others. Its process is ended with the block."""
    rules = [f"MAP {name} {ip}" for name, ip in names.items()]
    resolver = ",".join([*rules, "MAP * ~NOTFOUND", "EXCLUDE 127.*", "EXCLUDE localhost"])
    with tempfile.TemporaryDirectory(prefix="moot-chromium-", ignore_cleanup_errors=True) as folder:
        their_read, our_write = os.pipe()
        our_read, their_write = os.pipe()
        # commands come at descriptor 3 and answers go to 4; they are put there by way of numbers above both
        read, write = (fcntl.fcntl(number, fcntl.F_DUPFD, 10) for number in (their_read, their_write))
        command = [binary, *QUIET, f"--user-data-dir={folder}", f"--host-resolver-rules={resolver}", "about:blank"]
        try:
            process = await trio.lowlevel.open_process(
                ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write} {read}<&- {write}>&-', "bash", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(read, write),
            )
        finally:
            for number in (their_read, their_write, read, write):
                os.close(number)
        async with trio.lowlevel.FdStream(our_write) as commands, trio.lowlevel.FdStream(our_read) as answers:
            try:
                browser = Chromium(commands, answers)
                await browser.attach()
                yield browser
            finally:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()
