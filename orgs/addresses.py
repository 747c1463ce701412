"""Reading e-mail addresses."""

import re

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from roocloud.lib.text import is_storable

_SEPARATORS = re.compile(r"[,;\n\r]+")
_NAMED = re.compile(r".*<([^<>]*)>\s*")


def entries(text: str) -> list[str]:
    """What stands in a text with one entry a line, or with commas or semicolons between them."""
    return [entry.strip() for entry in _SEPARATORS.split(text) if entry.strip()]


def address(entry: str) -> str:
    """The address of ``Name <address>`` or of a bare one, in lower case; empty if there is none."""
    named = _NAMED.fullmatch(entry)
    found = (named[1] if named else entry).strip().lower()
    try:
        validate_email(found)
    except ValidationError:
        return ""
    return found if len(found) <= 254 and is_storable(found) else ""


def domain_of(email: str) -> str:
    return email.rpartition("@")[2].lower()
