"""Secrets at rest: AES-256-GCM, bound to the place that they are stored at (I2).

``settings.ROOCLOUD_FIELD_KEYS`` lists keys as ``id:base64``, the first of which seals. A sealed
value names its key, so older keys go on opening until every value was resealed (I3).
"""

import base64
import binascii
import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

_NONCE_BYTES = 12
_KEY_BYTES = 32


class CannotUnseal(Exception):
    """The value was moved, altered, or sealed under a key that is not configured any more."""


@lru_cache(maxsize=4)
def _keys(listed: tuple[str, ...]) -> dict[str, AESGCM]:
    keys: dict[str, AESGCM] = {}
    for entry in listed:
        key_id, _, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not key_id or len(key) != _KEY_BYTES:
            raise ImproperlyConfigured(
                "ROOCLOUD_FIELD_KEYS: each entry is an id, a colon and 32 bytes in base64"
            )
        keys[key_id] = AESGCM(key)
    if not keys:
        raise ImproperlyConfigured("ROOCLOUD_FIELD_KEYS is empty")
    return keys


def new_key(key_id: str) -> str:
    """A fresh entry for ROOCLOUD_FIELD_KEYS."""
    return f"{key_id}:{base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()}"


def _configured() -> dict[str, AESGCM]:
    return _keys(tuple(settings.ROOCLOUD_FIELD_KEYS))


def seal(plaintext: str | bytes, *, context: str) -> str:
    """``v1.<key id>.<base64url of nonce and ciphertext>``.

    context: table, column, row and organization, e.g. ``proxy.upstream.api_key:up_1:org_2``. The
    value opens only with the same context, so a ciphertext copied to another row is worthless.
    """
    data = plaintext.encode() if isinstance(plaintext, str) else plaintext
    key_id, key = next(iter(_configured().items()))
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = nonce + key.encrypt(nonce, data, _bound(context, key_id))
    return f"v1.{key_id}.{base64.urlsafe_b64encode(sealed).decode()}"


def unseal(sealed: str, *, context: str) -> bytes:
    """What was sealed. Raises CannotUnseal."""
    try:
        _, key_id, encoded = sealed.removeprefix("v1").split(".")
        raw = base64.urlsafe_b64decode(encoded)
        return _configured()[key_id].decrypt(
            raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bound(context, key_id)
        )
    except (ValueError, KeyError, InvalidTag):
        raise CannotUnseal(context.partition(":")[0]) from None


def reseal(sealed: str, *, context: str) -> str:
    """The same secret under the first configured key. Raises CannotUnseal."""
    return seal(unseal(sealed, context=context), context=context)


def is_current(sealed: str) -> bool:
    """Whether the first configured key sealed it, so that a rotation may pass it over."""
    return sealed.split(".")[1:2] == [next(iter(_configured()))]


def _bound(context: str, key_id: str) -> bytes:
    return f"{context}|{key_id}".encode()
