"""Parquet's modular encryption by the store's keys: what `storecast.store.parquet` hands to pyarrow.

Each file's random key is wrapped by a random key of this process, and that by the newest of the store's keys
(AES-256-GCM): pyarrow's envelope of two layers, kept inside the file. Nothing is asked of a server.
"""

from __future__ import annotations

import base64
import os
from functools import lru_cache
from typing import Any

import pyarrow.parquet.encryption as pe

from storecast.store.keyring import Keys

_NONCE = 12


class LockedError(Exception):
    """Why a file's key cannot be had, on its way through pyarrow: what is wrong, and `cure`."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what)
        self.cure = cure


def locking(keys: Keys) -> Any:
    """What pyarrow encrypts a new file with: the footer and all columns, by a new random key."""
    how = pe.EncryptionConfiguration(
        footer_key=keys.newest, uniform_encryption=True, double_wrapping=True, internal_key_material=True
    )
    return _factory(keys).file_encryption_properties(pe.KmsConnectionConfig(), how)


def opening(keys: Keys) -> Any:
    """What pyarrow opens files with: it raises LockedError where it cannot, and reads plain ones."""
    return _factory(keys).file_decryption_properties(pe.KmsConnectionConfig())


@lru_cache(maxsize=4)
def _factory(keys: Keys) -> pe.CryptoFactory:
    return pe.CryptoFactory(lambda _: _Wrapping(keys))


class _Wrapping(pe.KmsClient):  # type: ignore[misc]
    """Wraps keys by the store's keys, in this process."""

    def __init__(self, keys: Keys) -> None:
        super().__init__()
        self.keys = keys

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        nonce, name = os.urandom(_NONCE), master_key_identifier.encode()
        return base64.b64encode(nonce + self._cipher(master_key_identifier).encrypt(nonce, key_bytes, name))

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        from cryptography.exceptions import InvalidTag

        sealed, name = base64.b64decode(wrapped_key), master_key_identifier.encode()
        cipher = self._cipher(master_key_identifier)
        try:
            return bytes(cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], name))
        except InvalidTag as error:
            raise LockedError(
                f"is encrypted by another key than the one that is given as {master_key_identifier}",
                f"put the key back that {master_key_identifier} stood for",
            ) from error

    def _cipher(self, key_id: str) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if (key := self.keys.get(key_id)) is None:
            raise LockedError(
                f"is encrypted by key {key_id}, which is not given",
                f"put the line of {key_id} back, below the newest",
            )
        return AESGCM(key)
