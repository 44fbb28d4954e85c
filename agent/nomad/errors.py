"""How a call between agents fails."""


class RpcError(Exception):
    """A call came to nothing; the text says why, in Go's words where a caller of the HTTP API may see it."""


class Unreached(RpcError):
    """There was no answer: no connection, none in time, or bytes that are none."""


class Refused(RpcError):
    """The method answered with an error; the text is that error."""
