"""The agent as its RPC clients see it: a NodeRpcBackend that writes what is asked into the log, as Serf does."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from moot.agent.delivery import Delivery
from moot.agent.rpc.backend import NodeRpcBackend
from moot.agent.rpc.protocol import KeyResponse
from moot.agent.serf.gotext import quote
from moot.agent.serf.journal import Journal
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.net.answers import Answers
from moot.gossip.net.files import replace_file
from moot.gossip.net.node import Node
from moot.gossip.serf.asking import Question
from moot.gossip.serf.tags import encode_tags

KEY_CHANGES: Final = {
    "install": "key installation",
    "use": "primary key change",
    "remove": "key removal",
}
TAGS_MODE: Final = 0o600


class TagsFile:
    """Our tags, announced by a node and, if there is a file for them, kept in it: a JSON object."""

    def __init__(self, node: Node, path: Path | None) -> None:
        self._node = node
        self._path = path

    async def set(self, tags: Mapping[str, str]) -> None:
        """Keep and announce these tags. Raises ConfigError when they are too large, CommandError otherwise.

        Deviation: Serf writes the file first, so that tags that are too large stay in it.
        """
        encode_tags(tags)
        if self._path is not None:
            text = json.dumps(dict(sorted(tags.items())), indent=2, ensure_ascii=False)
            try:
                replace_file(self._path, text.encode("utf-8", "replace"), TAGS_MODE)
            except OSError as error:
                raise CommandError(f"Failed to write tags file {self._path}: {_reason(error)}") from error
        await self._node.set_tags(tags)


def load_tags(path: Path) -> dict[str, str] | None:
    """The tags in a file, None when there is none yet. Raises ConfigError."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"Failed to read tags file: open {path}: {_reason(error)}") from None
    try:
        tags = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"Failed to decode tags file: {error}") from None
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise ConfigError(f"Failed to decode tags file: {path} must hold an object whose values are texts")
    return tags


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()


class SerfRpcBackend(NodeRpcBackend):
    """Does what clients ask, with a line in the log for each."""

    def __init__(
        self,
        node: Node,
        delivery: Delivery,
        journal: Journal,
        *,
        end: Callable[[], None],
        tags: TagsFile,
        handlers: Callable[[], Mapping[str, str]],
    ) -> None:
        super().__init__(
            node,
            delivery,
            journal.ring,
            name=node.settings.name,
            end=end,
            set_tags=tags.set,
            handlers=handlers,
        )
        self._journal = journal

    def _note(self, level: str, text: str) -> None:
        self._journal.write(level, "agent", text)

    async def join(self, addresses: Sequence[str], *, replay: bool) -> int:
        self._note("INFO", f"joining: [{' '.join(addresses)}] replay: {str(replay).lower()}")
        try:
            count = await super().join(addresses, replay=replay)
        except CommandError as error:
            self._note("WARN", f"error joining: {' '.join(str(error).split())}")
            raise
        self._note("INFO", f"joined: {count} nodes")
        return count

    async def leave(self) -> None:
        self._journal.write("INFO", "agent.ipc", "Graceful leave triggered")
        self._note("INFO", "requesting graceful leave from Serf")
        await super().leave()

    async def force_leave(self, name: str, *, prune: bool) -> None:
        self._note("INFO", f"Force leaving node{' (prune)' if prune else ''}: {name}")
        await super().force_leave(name, prune=prune)

    def user_event(self, name: str, payload: bytes, *, coalesce: bool) -> None:
        text = f"{name}. Coalesced: {str(coalesce).lower()}. Payload: {_quoted(payload)}"
        self._note("DEBUG", f"Requesting user event send: {text}")
        super().user_event(name, payload, coalesce=coalesce)

    def query(self, question: Question) -> AbstractContextManager[Answers]:
        self._note("DEBUG", f"Requesting query send: {question.name}. Payload: {_quoted(question.payload)}")
        return super().query(question)

    async def change_keys(self, operation: str, key: str) -> tuple[KeyResponse, str]:
        self._note("INFO", f"Initiating {KEY_CHANGES[operation]}")
        return await super().change_keys(operation, key)

    async def list_keys(self) -> tuple[KeyResponse, str]:
        self._note("INFO", "Initiating key listing")
        return await super().list_keys()


def _quoted(payload: bytes) -> str:
    return quote(payload.decode("utf-8", "surrogateescape"))
