"""What the block `limits` comes to, and the descriptors that it takes."""

import resource
from math import inf

import pytest

from moot.agent.limits import http_limits, raise_descriptors, rpc_limits
from moot.agent.settings import ConnectionLimits
from moot.http.server import Limits


def test_zero_is_no_limit() -> None:
    none = ConnectionLimits(
        http_max_conns_per_client=0,
        https_handshake_timeout=0.0,
        rpc_max_conns_per_client=0,
        rpc_handshake_timeout=0.0,
    )
    for limits in (http_limits(none), rpc_limits(none)):
        assert (limits.connections_per_client_max, limits.handshake_timeout) == (0, inf)


def test_the_defaults_are_those_of_the_servers() -> None:
    assert http_limits(ConnectionLimits()) == Limits()


@pytest.mark.parametrize(
    ("before", "after", "warned"),
    [
        ((256, 1_000_000), (16_384, 1_000_000), False),
        ((256, resource.RLIM_INFINITY), (16_384, resource.RLIM_INFINITY), False),
        ((256, 1000), (1000, 1000), True),
        ((20_000, 20_000), (20_000, 20_000), False),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), (resource.RLIM_INFINITY, resource.RLIM_INFINITY), False),
    ],
)
def test_as_many_descriptors_are_taken_as_the_limits_need_and_may_be_had(
    monkeypatch: pytest.MonkeyPatch, before: tuple[int, int], after: tuple[int, int], warned: bool
) -> None:
    held = [before]
    monkeypatch.setattr(resource, "getrlimit", lambda _what: held[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _what, pair: held.append(pair))
    warning = raise_descriptors(serves_rpc=True)
    assert held[-1] == after
    assert bool(warning) is warned


def test_a_client_needs_fewer_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (2048, 2048))
    assert raise_descriptors(serves_rpc=False) is None
    warning = raise_descriptors(serves_rpc=True)
    assert warning is not None
    assert "HTTP takes 512 of them at a time and RPC 1024" in warning
