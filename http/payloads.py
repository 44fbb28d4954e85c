"""Payloads in JSON: any bytes travel as base64, what is text also as text."""

from base64 import b64encode


def in_base64(payload: bytes) -> str:
    return b64encode(payload).decode()


def text_of(payload: bytes) -> str | None:
    """The payload as text, None when it is no UTF-8."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None
