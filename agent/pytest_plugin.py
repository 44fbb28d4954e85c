"""The pytest plugin: fixtures that make clusters. It imports nothing of moot before one of them is used.

`@pytest.mark.moot(5, profile="lan")` says which cluster a test wants; it takes what `LocalCluster` takes.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from moot.agent.testing import BlockingCluster, LocalCluster


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "moot(count, **options): the cluster that the test wants of moot's fixtures")


@pytest.fixture
def moot_blocking_cluster(request: pytest.FixtureRequest) -> "Iterator[BlockingCluster]":
    """Agents that all have seen each other, as `moot.testing.BlockingCluster`."""
    # not before: whoever uses no cluster shall not pay for it
    from moot.agent.testing import BlockingCluster

    wanted = request.node.get_closest_marker("moot")
    with BlockingCluster(*wanted.args, **wanted.kwargs) if wanted else BlockingCluster() as cluster:
        yield cluster


@pytest.fixture
def moot_cluster(moot_blocking_cluster: "BlockingCluster") -> "LocalCluster":
    """The same for tests on trio or asyncio, as `moot.testing.LocalCluster`."""
    from moot.agent.testing import LocalCluster

    return LocalCluster.of(moot_blocking_cluster)
