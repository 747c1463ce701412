"""What of this room is about a person (L3)."""

import msgspec

from proxy.models import (
    Completion,
    IdempotencyKey,
    Transcript,
    TranscriptKeeping,
    UsageDay,
    UsageTask,
)
from proxy.transcripts import Answered, Asked
from roocloud.lib import personal
from roocloud.lib.personal import Cursor, Holding

_AT_ONCE = 20
_AMOUNTS = "amounts stay, under the pseudonym"


def declare() -> None:
    personal.kept(
        Completion, "user_id", "id", "organization_id", "task_id", "model_id", "status",
        "prompt_tokens", "completion_tokens", "cost_nanos", "error", "started_at", "ended_at",
        reason=_AMOUNTS, blank={"error": ""},
    )  # fmt: skip
    personal.kept(
        UsageDay, "user_id", "day", "organization_id", "model_id", "completions", "cost_nanos",
        reason=_AMOUNTS,
    )  # fmt: skip
    personal.kept(
        UsageTask, "user_id", "day", "task_id", "model_id", "completions", "cost_nanos",
        reason=_AMOUNTS,
    )  # fmt: skip
    personal.owned(
        IdempotencyKey, "user_id", reason="answers that were given already, sealed for a day"
    )
    erase = personal.deletion(Transcript, "user")
    personal.declare(Holding(Transcript, "user", _transcripts, erase))
    personal.elsewhere(
        TranscriptKeeping, "changed_by_id", reason="the setting is the organization's"
    )


def _transcripts(user_id: str, after: Cursor) -> tuple[list[str], Cursor]:
    """What an organization had stored of the person's prompts and answers."""
    rows = Transcript.unscoped.filter(user_id=user_id).order_by("pk")
    found = list((rows.filter(pk__gt=after) if after else rows)[:_AT_ONCE])
    texts = [
        msgspec.json.encode(
            {
                "completion": row.pk,
                "startedAt": row.started_at,
                "request": row.request(Asked),
                "answer": row.answer(Answered),
            }
        ).decode()
        for row in found
    ]
    return texts, found[-1].pk if len(found) == _AT_ONCE else None
