"""Each test has the shared cache to itself, also where several workers use one Redis."""

from uuid import uuid4

_of_this_test = ""


def begin_anew() -> None:
    """What was cached before is not found any more."""
    global _of_this_test
    _of_this_test = uuid4().hex


def key(key: str, prefix: str, version: int) -> str:
    """For CACHES' KEY_FUNCTION."""
    return f"{_of_this_test}:{prefix}:{version}:{key}"
