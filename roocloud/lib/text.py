"""Text that people read in lists and headings."""

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_SPACE = re.compile(r"\s+")
#: Escape sequences of terminals.
ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])?")


def storable(text: str) -> str:
    """``text`` with NUL and lone surrogates as U+FFFD, so that either database takes it."""
    return _UNSTORABLE.sub("\ufffd", text)


def is_storable(text: str) -> bool:
    """Whether either database takes ``text`` as it is, and UTF-8 can carry it."""
    return _UNSTORABLE.search(text) is None


def clean_label(text: str, max_length: int) -> str:
    """One line of at most ``max_length`` characters, cut with an ellipsis."""
    line = _SPACE.sub(" ", storable(text[: max_length * 4])).strip()
    return line if len(line) <= max_length else line[: max_length - 1].rstrip() + "…"
