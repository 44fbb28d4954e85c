"""Settings of the engine: what cannot work is refused when they are made."""

from typing import Any

import pytest

from moot.gossip.config import EVENT_SLOTS_MAX, SerfConfig, WireConfig
from moot.gossip.errors import ConfigError
from moot.gossip.serf.messages import SerfPushPull
from moot.gossip.swim.messages import PushPull
from moot.gossip.wire.codec import encode
from moot.gossip.wire.stream import StreamReader


@pytest.mark.parametrize("name", ["event_buffer", "query_buffer"])
@pytest.mark.parametrize("size", [0, EVENT_SLOTS_MAX + 1])
def test_a_ring_that_peers_could_not_read_is_refused(name: str, size: int) -> None:
    wrong: dict[str, Any] = {name: size}
    with pytest.raises(ConfigError, match=f"{name} must"):
        SerfConfig(**wrong)


def test_the_greatest_ring_is_read_by_peers() -> None:
    config = SerfConfig(event_buffer=EVENT_SLOTS_MAX)
    sent = PushPull(False, (), SerfPushPull(1, {}, (), 1, (None,) * config.event_buffer, 1))
    reader = StreamReader(WireConfig(), None, expect_label=False)
    assert reader.feed(encode(sent)) is not None
    assert reader.errors == []
