"""Serf's statistics, as its clients know them."""

from moot.gossip.serf.members import SerfTable
from moot.gossip.serf.outbox import Outbox


def statistics(
    table: SerfTable,
    clocks: tuple[int, int, int],
    outbox: Outbox,
    *,
    health_score: int,
    encrypted: bool,
    resets: int | None,
) -> dict[str, str]:
    """Counts, clocks and queue lengths, as text. `resets` are those of our coordinate, None when we keep none."""
    member_time, event_time, query_time = clocks
    return {
        "members": str(len(table)),
        "failed": str(table.failed_count),
        "left": str(table.left_count),
        "health_score": str(health_score),
        "member_time": str(member_time),
        "event_time": str(event_time),
        "query_time": str(query_time),
        "intent_queue": str(len(outbox.intents)),
        "event_queue": str(len(outbox.events)),
        "query_queue": str(len(outbox.queries)),
        "encrypted": str(encrypted).lower(),
        **({} if resets is None else {"coordinate_resets": str(resets)}),
    }
