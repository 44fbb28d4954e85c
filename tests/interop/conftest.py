"""A lab of real agents for each test."""

from collections.abc import Iterator

import pytest

from tests.support.processes import Lab, lab


@pytest.fixture
def pool() -> Iterator[Lab]:
    """Agents of ours only."""
    with lab() as running:
        yield running


@pytest.fixture
def mixed(serf_binary: str) -> Iterator[Lab]:
    """Agents of ours and real serf agents."""
    with lab(serf_binary) as running:
        yield running
