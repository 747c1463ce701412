"""Public ids and secrets."""

import hashlib
import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 24  # 62^24 is 142 bits


def new_id(prefix: str) -> str:
    """An unguessable public id such as ``task_4fJ…`` (142 random bits, letters and digits)."""
    number, letters = secrets.randbits(160), []
    for _ in range(_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return f"{prefix}_{''.join(letters)}"


def new_secret(prefix: str) -> str:
    """A bearer secret of 256 random bits, safe in a URL without escaping."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> str:
    """What is stored instead of a secret: its SHA-256 as 64 hex digits.

    A plain hash is enough for secrets that hold 128 random bits or more; passwords never come here.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
