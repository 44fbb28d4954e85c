"""Acl: who may ask what, by tokens.

A token is a text that the caller sends. Kept of it is only its SHA-256, which is enough because tokens are
drawn at random (`new_secret`); what is looked for is compared with all of them, in constant time. Rights are
Nomad's words, without its policies: a token has the rights that are listed with it.
"""

import enum
import hashlib
import hmac
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from moot.gossip.errors import ConfigError
from moot.http.exchange import HttpError, Request

DENIED: Final = "Permission denied"
NOT_FOUND: Final = "ACL token not found"
ANONYMOUS: Final = "anonymous"
"""The entry with the rights of callers without a token."""
MANAGEMENT: Final = "management"
"""Stands for all rights."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class Right(enum.Enum):
    """What a route asks for; the values are the words of the configuration."""

    NODE_READ = "node:read"
    AGENT_READ = "agent:read"
    AGENT_WRITE = "agent:write"


WORDS: Final[Mapping[str, frozenset[Right]]] = {
    Right.NODE_READ.value: frozenset({Right.NODE_READ}),
    Right.AGENT_READ.value: frozenset({Right.AGENT_READ}),
    Right.AGENT_WRITE.value: frozenset({Right.AGENT_WRITE, Right.AGENT_READ}),
    MANAGEMENT: frozenset(Right),
}
"""The rights that each word gives; who may write may read."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token, or with an empty digest the callers without one."""

    name: str
    rights: frozenset[Right]
    digest: bytes = field(default=b"", repr=False)


class Acl:
    """The tokens of an agent. Without `enabled` everybody may do everything, and tokens are not looked at."""

    def __init__(self, tokens: Iterable[Token] = (), *, enabled: bool = False) -> None:
        held = tuple(tokens)
        self.enabled = enabled
        self._tokens = [token for token in held if token.digest]
        self._anonymous = frozenset[Right]().union(*(token.rights for token in held if not token.digest))

    def check(self, request: Request, right: Right) -> None:
        """Raises HttpError 403 when the caller lacks the right."""
        if self.enabled and right not in self._rights(request):
            raise HttpError(403, DENIED)

    def _rights(self, request: Request) -> frozenset[Right]:
        """Raises HttpError 403 for a token that does not exist."""
        secret = token_of(request)
        if not secret:
            return self._anonymous
        digest = hashlib.sha256(secret.encode("latin-1")).digest()
        found = None
        for token in self._tokens:  # all of them, so that the time taken does not tell which one it is
            if hmac.compare_digest(token.digest, digest):
                found = token
        if found is None:
            raise HttpError(403, NOT_FOUND)
        return found.rights


def token_of(request: Request) -> str:
    """What the caller sent as its token, empty for none: `X-Nomad-Token`, else `Authorization: Bearer`."""
    token = request.header(b"x-nomad-token").strip()
    if token:
        return token
    scheme, *words = request.header(b"authorization").split()[:2] or [""]
    return words[0] if words and scheme.lower() == "bearer" else ""


def new_secret() -> str:
    """A fresh token: a UUID, as Nomad's."""
    return str(uuid.uuid4())


def entry(words: Iterable[str], secret: str) -> str:
    """What to write into the configuration for a token: its rights and its digest."""
    return " ".join([*words, f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"])


def parse_token(name: str, text: str) -> Token:
    """A token as the configuration has it: `RIGHT… sha256:HEX`, and for `anonymous` the rights alone.

    Raises ConfigError, which repeats nothing but the name: what is not as it should be may be a secret.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError("acl.tokens: the name of a token has up to 64 letters, digits, dashes or underscores")
    words = text.replace(",", " ").split()
    rights = [word for word in words if word in WORDS]
    digests = [found[1] for word in words if (found := _DIGEST.fullmatch(word))]
    if not rights or len(rights) + len(digests) != len(words) or len(digests) > 1:
        raise ConfigError(
            f"acl.tokens: {name} must be rights ({', '.join(WORDS)}) and the token's sha256:HEX,"
            " which `moot token` prints"
        )
    if bool(digests) == (name == ANONYMOUS):
        which = "has no digest: it is for who sends no token" if digests else "lacks the token's sha256:HEX"
        raise ConfigError(f"acl.tokens: {name} {which}")
    return Token(name, frozenset[Right]().union(*(WORDS[word] for word in rights)), bytes.fromhex("".join(digests)))


def parse_tokens(entries: Mapping[str, str]) -> tuple[Token, ...]:
    """All tokens by name. Raises ConfigError."""
    tokens = tuple(parse_token(name, text) for name, text in entries.items())
    digests = [token.digest for token in tokens]
    if len(set(digests)) < len(digests):
        raise ConfigError("acl.tokens: two entries stand for the same token")
    return tokens
