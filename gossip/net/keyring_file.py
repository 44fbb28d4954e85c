"""The keyring on disk: serf's format, a JSON array of base64 texts with the primary key first."""

import json
import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from pathlib import Path

from moot.gossip.errors import ConfigError, KeyringError
from moot.gossip.net.files import read_regular, replace_file
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.limits import KEY_SIZES, KEYS_MAX

SIZE_MAX = 64 * 1024
"""Bytes of a keyring file; 256 keys take 12 KiB."""
MODE = 0o600


def load_keys(path: Path) -> list[bytes]:
    """The keys in a keyring file, primary first. Raises ConfigError, which names the file but shows no key."""
    try:
        raw = read_regular(path, SIZE_MAX + 1)
    except OSError as error:
        raise ConfigError(f"keyring file {path}: {error.strerror}") from error
    if len(raw) > SIZE_MAX:
        raise ConfigError(f"keyring file {path}: larger than {SIZE_MAX} bytes")
    try:
        texts = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"keyring file {path}: not a JSON array of base64 keys") from error
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"keyring file {path}: not a JSON array of base64 keys")
    if not 1 <= len(texts) <= KEYS_MAX:
        raise ConfigError(f"keyring file {path}: {len(texts)} keys, must be from 1 to {KEYS_MAX}")
    return [_key(path, number, text) for number, text in enumerate(texts, 1)]


def _key(path: Path, number: int, text: str) -> bytes:
    try:
        key = b64decode(text, validate=True)
    except (Base64Error, ValueError) as error:
        raise ConfigError(f"keyring file {path}: key {number} is no base64") from error
    if len(key) not in KEY_SIZES:
        raise ConfigError(f"keyring file {path}: key {number} has {len(key)} bytes, must be 16, 24 or 32")
    return key


def save_keys(path: Path, keys: list[bytes]) -> None:
    """Write a keyring file, whole or not at all, readable by its owner only. Raises OSError."""
    texts = [b64encode(key).decode() for key in keys]
    replace_file(path, json.dumps(texts, indent=2).encode(), MODE)


class KeyringFile:
    """A keyring whose every change is on disk before it counts: what an agent acknowledged survives a crash."""

    def __init__(self, keyring: Keyring, path: Path) -> None:
        self._keyring = keyring
        self._path = path

    @property
    def keys(self) -> list[bytes]:
        """All keys, the primary one first."""
        return self._keyring.keys

    def add(self, key: bytes, /) -> None:
        """Install a key. Raises KeyringError, also when it cannot be written; then nothing has changed."""
        before = self._keyring.keys
        self._keyring.add(key)
        self._save(before)

    def use(self, key: bytes, /) -> None:
        """Make a key the primary one. Raises KeyringError as `add` does."""
        before = self._keyring.keys
        self._keyring.use(key)
        self._save(before)

    def remove(self, key: bytes, /) -> None:
        """Forget a key. Raises KeyringError as `add` does."""
        before = self._keyring.keys
        self._keyring.remove(key)
        self._save(before)

    def _save(self, before: list[bytes]) -> None:
        try:
            save_keys(self._path, self._keyring.keys)
        except OSError as error:
            self._keyring.reset(before)
            raise KeyringError(f"keyring file not written: {os.strerror(error.errno or 0)}") from error
