"""Answers: what comes back on a query of ours."""

from typing import TypeAlias

import trio

from moot.gossip.serf.events import QueryAcked, QueryAnswered
from moot.gossip.serf.messages import Query

Reply: TypeAlias = QueryAcked | QueryAnswered


class Answers:
    """The replies to one query in order of arrival. The iteration ends at the deadline, or when the node stops.

    `deadline` is an instant of trio's clock.
    """

    def __init__(self, query: Query, deadline: float, replies: trio.MemoryReceiveChannel[Reply]) -> None:
        self.query = query
        self.deadline = deadline
        self._replies = replies

    def __aiter__(self) -> "Answers":
        return self

    async def __anext__(self) -> Reply:
        try:
            return await self._replies.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
