"""`GET /v1/openapi.json`: what the whole API is, for people's tools."""

from collections.abc import Sequence
from typing import Final

import trio

from moot.http.backend import Backend
from moot.http.describe import Answer, Doc
from moot.http.exchange import JSON, Reply
from moot.http.openapi import build_document
from moot.http.routes import READ, Call, Route
from moot.http.schema import encode

DOCS: Final = Doc(
    "Describe this API.",
    "This very document.",
    answers=(Answer(dict[str, object], "OpenAPI 3.1."),),
)


class DocsApi:
    """The handler. `described` are the routes of the other parts."""

    def __init__(self, backend: Backend, described: Sequence[Route]) -> None:
        self._backend = backend
        self._described = described
        self._kept: dict[bool, Reply] = {}

    def routes(self) -> list[Route]:
        """The table. Open: it tells nothing of this agent but its version."""
        return [Route("/v1/openapi.json", READ, self.document, right=None, docs=(DOCS,))]

    async def document(self, call: Call) -> Reply:
        """The document, made when somebody first asks; in a thread, because it takes longer than a probe may wait."""
        kept = self._kept.get(call.pretty)
        if kept is None:
            routes = [*self._described, *self.routes()]
            version = self._backend.info().version
            text = await trio.to_thread.run_sync(lambda: encode(build_document(routes, version), pretty=call.pretty))
            kept = self._kept[call.pretty] = Reply(text, JSON)
        return kept
