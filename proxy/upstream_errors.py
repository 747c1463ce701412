"""What an upstream's refusal becomes for the client (protocol/proxy.md §4.4)."""

import json
import re

from roocloud.lib.refusals import Refusal
from roocloud.lib.text import clean_label

_MAX_TEXT = 1000
_OVERFLOW = re.compile(
    r"context.{0,3}(length|window)|maximum context|tokens? exceed|too many tokens"
    r"|(prompt|input) is too long|exceed context limit",
    re.IGNORECASE,
)
#: The words by which the client knows that it must shorten the conversation.
_OVERFLOW_WORDS = "This request exceeds the model's maximum context length. "
#: Of our account, said under a status of another meaning.
_OUT_OF_CREDIT = re.compile(r"credit balance is too low", re.IGNORECASE)
_DIGITS = re.compile(r"^[0-9]{1,6}$")


class UpstreamRefused(Refusal):
    """code and status as the client shall see them. is_passing: another upstream may do better."""

    is_passing = False

    def __init__(
        self, status: int, code: str, message: str, *, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.status = status
        self.code = code


def refusal(upstream: str, status: int, body: bytes, *, retry_after: str | None) -> UpstreamRefused:
    """upstream: its name. body: of its answer, cut at some length."""
    text = _text(body)
    if status == 400 and _OUT_OF_CREDIT.search(text):
        status = 402
    refused = _refusal(upstream, status, text or f"status {status}", retry_after=retry_after)
    refused.is_passing = status in (401, 402, 403, 408, 409, 429) or status >= 500
    return refused


def _refusal(upstream: str, status: int, text: str, *, retry_after: str | None) -> UpstreamRefused:
    if status in (401, 403):
        # Our key is wrong, not the client's token; the text may quote the key.
        return UpstreamRefused(
            502,
            "upstream_auth_failed",
            f"The upstream {upstream} does not accept this server's key. Tell an administrator.",
        )
    if status == 402:
        return UpstreamRefused(
            502,
            "upstream_out_of_credit",
            f"The upstream {upstream} has no credit left; your own balance is untouched. "
            "Tell an administrator.",
        )
    if status == 429:
        wait = int(retry_after) if retry_after and _DIGITS.match(retry_after) else 10
        message = f"The upstream {upstream} limits its rate: {text}"
        return UpstreamRefused(429, "rate_limit_exceeded", message, retry_after_s=wait)
    if status in (400, 413, 422) and _OVERFLOW.search(text):
        return UpstreamRefused(400, "context_length_exceeded", _OVERFLOW_WORDS + text)
    if 400 <= status < 500 and status not in (408, 409):
        return UpstreamRefused(status, "upstream_refused", text)
    return UpstreamRefused(502, "upstream_failed", f"The upstream {upstream} failed: {text}")


def _text(body: bytes) -> str:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error", document) if isinstance(document, dict) else document
    message = error.get("message") if isinstance(error, dict) else error
    return clean_label(message, _MAX_TEXT) if isinstance(message, str) else ""
