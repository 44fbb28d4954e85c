"""Keyring: AES-GCM with several keys. The first seals, all are tried to open."""

from collections.abc import Callable, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moot.gossip.errors import CryptoError, KeyringError
from moot.gossip.wire.limits import KEY_SIZES, KEYS_MAX

NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
BLOCK_SIZE: Final = 16
SEAL_SIZE: Final = {0: 1 + NONCE_SIZE + BLOCK_SIZE + TAG_SIZE, 1: 1 + NONCE_SIZE + TAG_SIZE}
"""Most that sealing adds, by version: 45 bytes with padding, 29 without."""


class Keyring:
    """Keys by which packets and streams are sealed. Never empty.

    `nonce` gives 12 fresh random bytes at every call (`os.urandom` in an agent, something seeded in a
    simulation); a nonce must never come twice under one key. Operations refuse with KeyringError in the
    reference's words.
    """

    def __init__(self, keys: Sequence[bytes], nonce: Callable[[], bytes]) -> None:
        if not keys:
            raise KeyringError("a keyring needs at least one key")
        self._nonce = nonce
        self._ciphers: dict[bytes, AESGCM] = {}  # primary first, and in the order of trying
        for key in keys:
            self.add(key)

    @property
    def keys(self) -> list[bytes]:
        """All keys, the primary one first."""
        return list(self._ciphers)

    @property
    def primary(self) -> bytes:
        """The key that seals."""
        return next(iter(self._ciphers))

    def add(self, key: bytes) -> None:
        """Install a key. One that is there already stays where it is."""
        if len(key) not in KEY_SIZES:
            raise KeyringError("key size must be 16, 24 or 32 bytes")
        if key not in self._ciphers:
            if len(self._ciphers) >= KEYS_MAX:
                raise KeyringError(f"the keyring is full with {KEYS_MAX} keys")
            self._ciphers[key] = AESGCM(key)

    def reset(self, keys: Sequence[bytes]) -> None:
        """Have exactly these keys, the primary one first, all of which were installed before."""
        ciphers = self._ciphers
        self._ciphers = {key: ciphers.get(key) or AESGCM(key) for key in keys}

    def use(self, key: bytes) -> None:
        """Make an installed key the primary one."""
        if key not in self._ciphers:
            raise KeyringError("Requested key is not in the keyring")
        self._ciphers = {key: self._ciphers[key], **self._ciphers}

    def remove(self, key: bytes) -> None:
        """Forget a key, unless it is the primary one. One that is not there is no error."""
        if key == self.primary:
            raise KeyringError("Removing the primary key is not allowed")
        self._ciphers.pop(key, None)

    def seal(self, plaintext: bytes, aad: bytes = b"", version: int = 1) -> bytes:
        """Version byte, nonce, ciphertext and tag, under the primary key. Version 0 pads to whole blocks."""
        nonce = self._nonce()
        assert len(nonce) == NONCE_SIZE, f"a nonce of {len(nonce)} bytes"
        if version == 0:
            padding = BLOCK_SIZE - len(plaintext) % BLOCK_SIZE
            plaintext = plaintext + bytes((padding,)) * padding
        cipher = self._ciphers[self.primary]
        return bytes((version,)) + nonce + cipher.encrypt(nonce, plaintext, aad)

    def open(self, sealed: bytes, aad: bytes = b"") -> bytes:
        """The plaintext under whichever key fits. Raises CryptoError.

        Deviation: padding of version 0 is checked; the reference trusts its last byte and would crash.
        """
        if not sealed or sealed[0] not in SEAL_SIZE:
            raise CryptoError("crypto", "unknown encryption version")
        version = sealed[0]
        if len(sealed) < SEAL_SIZE[version]:
            raise CryptoError("crypto", f"{len(sealed)} bytes are too few to be sealed")
        nonce, body = sealed[1 : 1 + NONCE_SIZE], sealed[1 + NONCE_SIZE :]
        for cipher in self._ciphers.values():
            try:
                plaintext = cipher.decrypt(nonce, body, aad)
            except InvalidTag:
                continue
            return plaintext if version == 1 else _unpadded(plaintext)
        raise CryptoError("no-key", "no installed key opens it")


def _unpadded(plaintext: bytes) -> bytes:
    """Without its PKCS#7 padding of 1 to 16 equal bytes. Raises CryptoError when there is none."""
    padding = plaintext[-1] if plaintext else 0
    if not 1 <= padding <= BLOCK_SIZE or plaintext[-padding:] != bytes((padding,)) * padding:
        raise CryptoError("crypto", "wrong padding")
    return plaintext[:-padding]
