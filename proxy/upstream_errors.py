"""What an upstream's refusal becomes for the client (protocol/proxy.md §4.4)."""

import json
import re
from collections.abc import Mapping
from typing import Any

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
#: What errors in a stream mean, whose status was 200: OpenAI's codes and Anthropic's types.
_STATUSES = {
    "context_length_exceeded": 400,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "insufficient_quota": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


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
    refused.is_passing = status in (401, 402, 403, 408, 409, 424, 429) or status >= 500
    return refused


def refusal_in(event: bytes, upstream: str, *, retry_after: str | None) -> UpstreamRefused | None:
    """What the payload of a stream's event refuses; None for one that is no error."""
    if b'"error"' not in event:
        return None
    document = _document(event)
    error = document.get("error") if isinstance(document, dict) else None
    if not error:
        return None
    status = status_of(error) if isinstance(error, dict) else 500
    return refusal(upstream, status, event, retry_after=retry_after)


def refusal_instead(
    body: bytes, upstream: str, *, retry_after: str | None
) -> UpstreamRefused | None:
    """What a body with status 200 refuses; None for one that answers, whatever else it says."""
    document = _document(body) if b'"error"' in body else None
    if not isinstance(document, dict) or document.get("choices") or document.get("data"):
        return None
    return refusal_in(body, upstream, retry_after=retry_after)


def status_of(error: Mapping[str, Any]) -> int:
    """The status that an error would have had as an answer of its own; 500 for an unknown one."""
    for said in (error.get("code"), error.get("type")):
        if isinstance(said, int) and 400 <= said < 600:
            return said
        if isinstance(said, str) and said in _STATUSES:
            return _STATUSES[said]
    return 500


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
    if 400 <= status < 500 and status not in (408, 409, 424):
        return UpstreamRefused(status, "upstream_refused", text)
    return UpstreamRefused(502, "upstream_failed", f"The upstream {upstream} failed: {text}")


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _text(body: bytes) -> str:
    document = _document(body)
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error", document) if isinstance(document, dict) else document
    message = error.get("message") if isinstance(error, dict) else error
    return clean_label(message, _MAX_TEXT) if isinstance(message, str) else ""
