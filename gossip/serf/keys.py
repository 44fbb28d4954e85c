"""Keys: install, use, remove and list encryption keys on every member, by queries between agents."""

from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from moot.gossip.errors import KeyringError, WireError
from moot.gossip.record import message
from moot.gossip.serf.messages import KeyRequest, KeyResponse

OPERATIONS = ("install", "use", "remove", "list")
TRUNCATED_MAX = 40
"""With how many keys the attempts begin to make a list that is too long fit."""


class KeyStore(Protocol):
    """The keyring that is operated on. Refusals are KeyringError; what succeeded is kept for good."""

    @property
    def keys(self) -> list[bytes]:
        """All keys, the primary one first."""
        ...

    def add(self, key: bytes, /) -> None: ...

    def use(self, key: bytes, /) -> None: ...

    def remove(self, key: bytes, /) -> None: ...


@message
class KeyReport:
    """How a key operation went over the pool.

    `asked` counts the members that were alive, `answers` holds what each said, `silent` names those of them
    that said nothing. `error` is empty, or Serf's summary such as `1/3 nodes reported failure`.
    """

    operation: str
    asked: int
    answers: Mapping[str, KeyResponse]
    silent: Sequence[str]
    error: str


def query_name(operation: str) -> str:
    """The name of the query between agents for an operation."""
    return "_serf_list-keys" if operation == "list" else f"_serf_{operation}-key"


OPERATION_OF = {query_name(operation): operation for operation in OPERATIONS}


def operate(store: KeyStore | None, operation: str, key: bytes) -> KeyResponse:
    """Carry an operation out on our own keyring; the answer to send (internal_query.go handle…Key)."""
    if store is None:
        if operation == "list":
            return KeyResponse(False, "Keyring is empty (encryption not enabled)")
        return KeyResponse(False, "No keyring to modify (encryption not enabled)")
    try:
        if operation == "install":
            store.add(key)
        elif operation == "use":
            store.use(key)
        elif operation == "remove":
            store.remove(key)
        else:
            keys = [b64encode(held).decode() for held in store.keys]
            return KeyResponse(True, "", keys, keys[0])
    except KeyringError as refusal:
        return KeyResponse(False, str(refusal))
    return KeyResponse(True)


def fitting(response: KeyResponse, fits: Callable[[KeyResponse], bool]) -> KeyResponse | None:
    """A list response, cut until it fits into a reply; None when not even one key does."""
    if fits(response):
        return response
    total = len(response.keys)
    for count in range(min(TRUNCATED_MAX, total), 0, -1):
        text = f"truncated key list response, showing first {count} of {total} keys"
        cut = KeyResponse(response.result, text, response.keys[:count], response.primary)
        if fits(cut):
            return cut
    return None


class Tally:
    """The answers to one key operation, until everybody that was asked has answered or the time is up.

    Deviation: the reference counts answers, so that one of a member that has just joined stands for one that said
    nothing, and the operation is reported as a success while that one lacks the key.
    """

    def __init__(self, operation: str, asked: Sequence[str], decode: Callable[[bytes], object]) -> None:
        self._operation = operation
        self._waiting = dict.fromkeys(asked)
        self._asked = len(asked)
        self._decode = decode
        self._answers: dict[str, KeyResponse] = {}

    def take(self, sender: str, payload: bytes) -> None:
        """One member's answer; one that cannot be read counts as a failure."""
        try:
            answer = self._decode(payload)
        except WireError as error:
            answer = error
        if not isinstance(answer, KeyResponse):
            answer = KeyResponse(False, "its answer cannot be read")
        self._answers[sender] = answer
        self._waiting.pop(sender, None)

    @property
    def is_complete(self) -> bool:
        """Whether everybody that was asked has answered."""
        return not self._waiting

    def report(self) -> KeyReport:
        error = summary(self._asked, self._answers, self._waiting)
        return KeyReport(self._operation, self._asked, self._answers, tuple(self._waiting), error)


def summary(asked: int, answers: Mapping[str, KeyResponse], silent: Collection[str]) -> str:
    """Serf's words on how an operation went, empty when everybody did it."""
    failed = sum(not answer.result for answer in answers.values())
    if failed:
        return f"{failed}/{asked} nodes reported failure"
    return f"{asked - len(silent)}/{asked} nodes reported success" if silent else ""


def read_request(decode: Callable[[bytes], object], payload: bytes) -> bytes | None:
    """The key in a key request, None when it cannot be read."""
    try:
        request = decode(payload)
    except WireError:
        return None
    return request.key if isinstance(request, KeyRequest) else None
