"""AccessLog: a line of the log for each HTTP request, at DEBUG."""

import time

from moot.agent.logs import Log
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
