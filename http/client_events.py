"""EventFollower: the events of an agent as they happen, for the client; standard library only."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from moot.http.client import ApiClient

PATH = "/v1/moot/events"


class EventFollower:
    """Iterate to get every event as a map with `id`, `kind` and `time`; of kind `gap` where some are missing.

    One iteration is one connection: it raises what `ApiClient` raises, and Unreachable when it breaks off. To go on
    where that ended, iterate anew. What events have is in docs/live.md.

    `after` is the id of the last event seen, or `start`; `since` a duration such as `5m`.
    """

    def __init__(
        self,
        client: ApiClient,
        *,
        kinds: Sequence[str] = (),
        members: Sequence[str] = (),
        after: str = "",
        since: str = "",
        follow: bool = True,
    ) -> None:
        self._client = client
        self._filters = [*(("kind", kind) for kind in kinds), *(("member", name) for name in members)]
        self._since = since
        self._follow = follow
        self.last = after
        """The id to go on from."""
        self.is_connected = False
        """Whether the agent answered in the last iteration."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.is_connected = False
        query = list(self._filters)
        if self.last:
            query.append(("after", self.last))
        elif self._since:
            query.append(("since", self._since))
        if not self._follow:
            query.append(("follow", "false"))
        for raw in self._client.lines(PATH, query, whole=not self._follow):
            self.is_connected = True
            field, _, value = raw.partition(": ")
            if field == "id":
                self.last = value
            elif field == "data":
                event = json.loads(value)
                if isinstance(event, dict):
                    yield event
