"""What stands before the HTTP API of an agent: a line of the log for each request, at DEBUG."""

import time

from moot.agent.logs import Log
from moot.gossip.net.faulty import Surroundings
from moot.http.exchange import Application, Request, Response
from moot.http.self_config import duration_text


class AccessLog:
    """An application around another one. Parameters are not told: some are secrets, and none needs to be read."""

    def __init__(self, app: Application, log: Log) -> None:
        self._app = app
        self._log = log

    async def __call__(self, request: Request) -> Response:
        begun = time.perf_counter()
        response = await self._app(request)
        self._log.debug(
            "request complete",
            method=request.method,
            path=request.target.partition("?")[0],
            status=response.status,
            duration=duration_text(time.perf_counter() - begun),
            client=request.peer,
        )
        return response


def awake(app: Application, surroundings: Surroundings | None) -> Application:
    """The application of an agent that answers nobody while it is frozen, in a lab; elsewhere the same."""
    if surroundings is None:
        return app
    lab = surroundings

    async def answer(request: Request) -> Response:
        await lab.awake()
        return await app(request)

    return answer
