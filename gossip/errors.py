"""Every error that gossip raises on purpose.

GossipError
├── ConfigError            a setting that cannot work; the text names it
├── WireError              a peer sent junk: counted, dropped, state untouched
│   ├── CryptoError        no key opens it, or it is plain where it must be sealed (or the reverse)
│   └── LimitExceeded      a length or count above what `wire.limits` allows
├── KeyringError           a key operation that the keyring refuses
├── StreamError            a TCP exchange failed
├── CommandError           a command that the engine refuses in its present state
└── NameTaken              the pool decided that another member is the one of our name

A bug is an AssertionError and stops the node. A peer can never cause one.
"""


class GossipError(Exception):
    """Base of all of them; never raised itself."""


class ConfigError(GossipError):
    """A setting that cannot work. The text names the setting and the fault."""


class WireError(GossipError):
    """Bytes from a peer that are no message.

    `kind` is a short fixed word (such as "truncated") by which drops are counted.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail


class CryptoError(WireError):
    """Encryption does not match: wrong key, no key, or plain bytes where a seal is required."""


class LimitExceeded(WireError):
    """A length or a count above the limit; raised before memory is taken for it."""


class KeyringError(GossipError):
    """The keyring refuses: wrong size, not installed, or the primary key."""


class StreamError(GossipError):
    """A TCP exchange with a peer failed; the text says how."""


class CommandError(GossipError):
    """The engine refuses a command in its present state, for example a join after leave."""


class NameTaken(GossipError):
    """The pool was asked which of two members it means by our name, and it is not us."""
