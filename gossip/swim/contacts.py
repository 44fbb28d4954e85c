"""Contacts: who answered us, over UDP and over TCP, as far as it was tried.

Only what is direct counts: a ping that a member answers by way of others says that it is alive, but also that
packets between it and us are lost. UDP is tried by probes, TCP by the pings of a probe that was not answered and
by every push/pull. Nothing here decides anything; it is for people who look for a bad cable.
"""

from moot.gossip.record import message


@message
class Contact:
    """How one member was reached over one transport. Instants are those of the driver's clock."""

    tried_at: float
    """When it was known how the last attempt ended."""
    answered: bool
    """Whether the last attempt was answered."""
    answered_at: float | None
    """When one was answered last, None when none ever was."""
    rtt: float | None
    """Seconds that the last answered one took, None where that says nothing about the way."""
    reason: str = ""
    """Why the last attempt came to nothing, where that is known."""


class Contacts:
    """Contacts by name. Whoever keeps the list of members forgets the names that go from it."""

    def __init__(self) -> None:
        self._packet: dict[str, Contact] = {}
        self._stream: dict[str, Contact] = {}
        self.version = 0
        """Grows with every attempt."""

    def packet(self, name: str) -> Contact | None:
        """The last over UDP, None when it was never tried."""
        return self._packet.get(name)

    def stream(self, name: str) -> Contact | None:
        """The last over TCP, None when it was never tried."""
        return self._stream.get(name)

    def note_packet(self, now: float, name: str, rtt: float | None) -> None:
        """A ping was answered by the member itself after `rtt` seconds, or, with None, was not."""
        self._note(self._packet, now, name, rtt is not None, rtt, "")

    def note_stream(self, now: float, name: str, answered: bool, reason: str = "") -> None:
        """A stream to the member was answered, or came to nothing, for a reason."""
        self._note(self._stream, now, name, answered, None, reason)

    def forget(self, name: str) -> None:
        """Nobody lists that member any more."""
        self._packet.pop(name, None)
        self._stream.pop(name, None)

    def _note(
        self, where: dict[str, Contact], now: float, name: str, answered: bool, rtt: float | None, reason: str
    ) -> None:
        self.version += 1
        if answered:
            where[name] = Contact(now, True, now, rtt)
            return
        before = where.get(name)
        if before is None:
            where[name] = Contact(now, False, None, None, reason)
        else:
            where[name] = Contact(now, False, before.answered_at, before.rtt, reason)
