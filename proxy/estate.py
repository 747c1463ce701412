"""What this room has of an organization (see orgs.estate)."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime

from accounts.actors import Actor
from proxy import spending
from proxy.actions import hide_models_of
from proxy.models import IdempotencyKey, LanguageModel, Transcript, TranscriptKeeping, Upstream
from roocloud.lib.spreadsheets import csv_lines

_BEGINNING = date(2020, 1, 1)


class Part:
    def files(self, actor: Actor, *, at: datetime) -> Iterable[tuple[str, Iterator[str]]]:
        yield "usage.csv", _usage(actor, at=at)
        yield "upstreams.jsonl", _upstreams(actor)

    def clear(self, organization_id: str, *, at: datetime) -> None:
        """Keys of its upstreams, stored prompts and answers. Completions stay: the ledger's charges
        are of them, and nothing that was said is in them."""
        for upstream in Upstream.unscoped.filter(organization_id=organization_id):
            upstream.set_api_key("")
            upstream.enabled = False
            upstream.save(update_fields=["sealed_api_key", "enabled"])
        hide_models_of(organization_id)
        offered = LanguageModel.organizations.through.objects
        offered.filter(organization_id=organization_id).delete()
        for model in (Transcript, TranscriptKeeping, IdempotencyKey):
            model.unscoped.filter(organization_id=organization_id).delete()


def _usage(actor: Actor, *, at: datetime) -> Iterator[str]:
    today = at.astimezone(UTC).date()
    rows = spending.completions(actor, spending.Filters(_BEGINNING, today, is_team=True))
    yield csv_lines([spending.EXPORT_HEADER])
    before, is_more = "", True
    while is_more:
        lines, before = spending.export(rows, before=before)
        yield csv_lines(lines)
        is_more = bool(before)


def _upstreams(actor: Actor) -> Iterator[str]:
    """Without their keys (I2)."""
    rows = Upstream.unscoped.filter(organization_id=actor.organization_id).order_by("name")
    for row in rows.values("name", "kind", "base_url", "enabled"):
        yield json.dumps(row) + "\n"
