"""Gossip keys, changed from an agent of the kind that acts. A plain pool must refuse, in the same words."""

from collections.abc import Iterator

import pytest

from tests.interop.matrix.cell import Cell, all_refuse, held_keys, row
from tests.interop.matrix.pools import KEY, new_key

NONE_TO_MODIFY = "No keyring to modify (encryption not enabled)"
NONE_TO_LIST = "Keyring is empty (encryption not enabled)"
IS_PRIMARY = "Removing the primary key is not allowed"


@pytest.fixture
def fresh_key(cell: Cell) -> Iterator[str]:
    """A key that the pool does not have, and will not have afterwards."""
    key = new_key()
    yield key
    if cell.sealed and key in held_keys(cell.actor, cell.tool):
        cell.actor.tell("keys", f"-use={KEY}")
        cell.actor.tell("keys", f"-remove={key}")


def all_hold(cell: Cell, *keys: str) -> None:
    """Both commands list just these keys, on all members, through agents of both kinds."""
    for agent in (cell.actor, cell.seer):
        for tool in cell.pools.programs.values():
            assert held_keys(agent, tool) == dict.fromkeys(keys, "4/4")


def refused(cell: Cell, *words: str, reason: str) -> None:
    """Every member refuses, whichever kind is asked, and both commands say so."""
    for agent in (cell.actor, cell.seer):
        all_refuse(agent.ask("keys", *words, program=cell.tool), cell.pool.agents, reason)


@row("key install")
def test_a_key_is_installed_on_all_members(cell: Cell, fresh_key: str) -> None:
    if not cell.sealed:
        refused(cell, f"-install={fresh_key}", reason=NONE_TO_MODIFY)
        return
    assert "Successfully installed key!" in cell.actor.tell("keys", f"-install={fresh_key}")
    all_hold(cell, KEY, fresh_key)


@row("key use")
def test_a_key_becomes_the_primary_one_of_all_members(cell: Cell, fresh_key: str) -> None:
    if not cell.sealed:
        refused(cell, f"-use={fresh_key}", reason=NONE_TO_MODIFY)
        return
    cell.actor.tell("keys", f"-install={fresh_key}")
    assert "Successfully changed primary key!" in cell.actor.tell("keys", f"-use={fresh_key}")
    refused(cell, f"-remove={fresh_key}", reason=IS_PRIMARY)
    cell.actor.tell("keys", f"-remove={KEY}")
    all_hold(cell, fresh_key)
    event = f"sealed-{cell.way}"
    cell.actor.tell("event", "-coalesce=false", event, "with the new key")
    cell.all_hear(event, "with the new key")
    cell.actor.tell("keys", f"-install={KEY}")


@row("key remove")
def test_a_key_is_removed_from_all_members(cell: Cell, fresh_key: str) -> None:
    if not cell.sealed:
        refused(cell, f"-remove={fresh_key}", reason=NONE_TO_MODIFY)
        return
    cell.actor.tell("keys", f"-install={fresh_key}")
    assert "Successfully removed key!" in cell.actor.tell("keys", f"-remove={fresh_key}")
    all_hold(cell, KEY)
    refused(cell, f"-remove={KEY}", reason=IS_PRIMARY)


@row("key list")
def test_the_keys_of_all_members_are_listed(cell: Cell) -> None:
    if not cell.sealed:
        refused(cell, "-list", reason=NONE_TO_LIST)
        return
    all_hold(cell, KEY)
