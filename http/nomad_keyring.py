"""Nomad's `/v1/agent/keyring/…`: the keys of the whole pool, by Serf's key queries.

Unlike `/v1/moot/keys` it does not look first whether somebody would be cut off.
"""

from base64 import b64decode
from collections import Counter
from collections.abc import Mapping
from typing import Final, cast

import msgspec

from moot.gossip.serf.keys import OPERATIONS
from moot.http.backend import Backend
from moot.http.describe import Answer, Body, Doc, Failure
from moot.http.exchange import HttpError, Reply
from moot.http.nomad_operations import KeyringOperation
from moot.http.routes import ANY, READ, WRITE, Call, Role, Route
from moot.http.schema import KeyringAnswer

PREFIX: Final = "/v1/agent/keyring/"
DIGITS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
PAD: Final = ord("=")


class KeyringRequest(msgspec.Struct):
    """A key. Its name may be written in any case."""

    key: str | None = msgspec.field(default="", name="Key")
    """Base64 of 16, 24 or 32 bytes. What is left out counts as empty, which is no key that anybody has."""


NOT_DONE: Final = (
    Failure(
        500,
        "…/… nodes reported failure",
        "so many of all that were alive; with one each also when the pool is not encrypted",
    ),
    Failure(500, "…/… nodes reported success", "so many of all that were alive; the others said nothing"),
)
"""What became of an operation that not all carried out."""
BAD_KEY: Final = (
    Failure(400, "Request body is empty"),
    Failure(400, "the body cannot be read as JSON: …"),
    Failure(400, 'the body must be a JSON object such as {"Key": "BASE64"}'),
    Failure(400, "Key must be a text in base64"),
    Failure(500, "illegal base64 data at input byte …"),
)
TEXT_OF_ALL: Final = (
    "Any method is taken. Another word than `list`, `install`, `use` and `remove` is 404 `resource not found`."
    " Who is alive and says nothing is asked again, up to three times."
)
EXAMPLE: Final = {"Key": "HS5lJ+XuTlYKWaeGYyG+/A=="}
EXAMPLE_GONE: Final = {"Key": "cGVlbGVkIG9yYW5nZXMhIQ=="}


def _change(operation: str, summary: str, text: str, example: Mapping[str, str] = EXAMPLE) -> Doc:
    return Doc(
        summary,
        f"{text} {TEXT_OF_ALL}",
        methods=WRITE,
        path=f"{PREFIX}{operation}",
        body=Body(shape=KeyringRequest, example=example),
        answers=(Answer(KeyringAnswer, "All that are alive did it; `Keys` is empty."),),
        failures=(*BAD_KEY, *NOT_DONE),
    )


DOCS: Final = (
    Doc(
        "List the keys of the pool.",
        TEXT_OF_ALL,
        methods=READ,
        path=f"{PREFIX}list",
        answers=(Answer(KeyringAnswer, "Each key, and how many members hold it."),),
        failures=NOT_DONE,
    ),
    _change(
        "install",
        "Give all members a key.",
        "They take it to open what they hear, and go on sealing with the primary one.",
    ),
    _change(
        "use",
        "Make a key the primary one.",
        "Nobody looks whether a member would be cut off; `/v1/moot/keys/use` does.",
    ),
    _change(
        "remove",
        "Take a key from all members.",
        "Nobody looks whether a member would be cut off; `/v1/moot/keys/remove` does. A key that nobody has is fine.",
        EXAMPLE_GONE,
    ),
)


class KeyringApi:
    """The handler."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """The table. Any method is taken, and listing asks for the same right as changing, both as Nomad's."""
        return [Route(PREFIX, ANY, self.keyring, Role.SERVER, own_pages_only=True, docs=DOCS)]

    async def keyring(self, call: Call) -> Reply:
        """List, install, use or remove; a member that fails or says nothing makes it a 500."""
        name = call.path.removeprefix(PREFIX)
        if name not in OPERATIONS:
            raise HttpError(404, "resource not found")
        operation = cast(KeyringOperation, name)
        key = b"" if operation == "list" else decode_base64(read_key(call.request.body))
        report = await self._backend.nomad.keyring(operation, key)
        if report.error:
            raise HttpError(500, report.error)
        held = Counter(key for answer in report.answers.values() for key in answer.keys)
        messages = {name: answer.text for name, answer in report.answers.items() if answer.text}
        return call.json(KeyringAnswer(keys=dict(held), messages=messages, num_nodes=report.asked))


def read_key(body: bytes) -> str:
    """The text of `Key` in a request's body, in whatever case it is written; empty without. Raises HttpError 400."""
    if not body:
        raise HttpError(400, "Request body is empty")
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise HttpError(400, f"the body cannot be read as JSON: {error}") from error
    if found is None:
        return ""
    if not isinstance(found, dict):
        raise HttpError(400, 'the body must be a JSON object such as {"Key": "BASE64"}')
    key = next((value for name, value in reversed(found.items()) if name.lower() == "key"), None)
    if not isinstance(key, str | None):
        raise HttpError(400, "Key must be a text in base64")
    return key or ""


def decode_base64(text: str) -> bytes:
    """The bytes of a base64 text, as Go's decoder reads it: line ends are skipped, padding is needed.

    Raises HttpError 500 that tells the place of the first byte that is wrong, in Go's words.
    """
    given = text.encode("utf-8", "replace")
    wrong = _wrong_at(given)
    if wrong is not None:
        raise HttpError(500, f"illegal base64 data at input byte {wrong}")
    return b64decode(given)


def _wrong_at(given: bytes) -> int | None:
    """Where a base64 text ends to be one; None when it is one."""
    marks = [(at, byte) for at, byte in enumerate(given) if byte not in b"\r\n"]
    bad = next((n for n, (_, byte) in enumerate(marks) if byte not in DIGITS), len(marks))
    place = [at for at, _ in marks] + [len(given)]
    in_group = bad % 4
    if bad == len(marks):  # it ends within a group of four
        return len(given) - in_group if in_group else None
    if marks[bad][1] != PAD or in_group < 2:
        return place[bad]
    end = bad + 4 - in_group
    if end == bad + 2 and (bad + 1 == len(marks) or marks[bad + 1][1] != PAD):
        return len(given) if bad + 1 == len(marks) else place[bad + 1] - 1
    return place[end] if end < len(marks) else None
