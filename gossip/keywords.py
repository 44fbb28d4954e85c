"""Keys by words: in scenarios a key is a word, so that files stay readable and secrets do not get into them."""

import binascii
from base64 import b64decode
from hashlib import blake2b

SIZES = (16, 24, 32)


def key_of(word: str) -> bytes:
    """The key that a word stands for; base64 of 16, 24 or 32 bytes stands for itself."""
    try:
        raw = b64decode(word, validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    return raw if len(raw) in SIZES else blake2b(word.encode(), digest_size=32, person=b"moot lab key").digest()
