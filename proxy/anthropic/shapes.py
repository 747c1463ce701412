"""What both directions share. Written from the public reference of Anthropic's Messages API.

The client sends back what it was shown: ``reasoning_details`` carry the signed thinking of earlier
turns. Only details of the format below are Anthropic's; another vendor's signature is refused.
"""

from typing import Any

from msgspec import Raw

VERSION = "2023-06-01"
FORMAT = "anthropic-claude-v1"
THOUGHTS = ("thinking", "redacted_thinking")
NULL = Raw(b"null")

Block = dict[str, Any]


def opening(raw: Raw) -> bytes:
    """The character that a JSON value begins with, which tells its kind."""
    return bytes(memoryview(raw)[:1])
