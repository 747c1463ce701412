"""What this room has of an organization (see orgs.estate): its ledger, which stays."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from accounts.actors import Actor
from credits import ledger
from roocloud.lib.spreadsheets import csv_lines

_HEADER = ("posted_at", "kind", "amount_nano_usd", "who", "model", "note")


class Part:
    def files(self, actor: Actor, *, at: datetime) -> Iterable[tuple[str, Iterator[str]]]:
        yield "ledger.csv", _ledger(actor)

    def clear(self, organization_id: str, *, at: datetime) -> None:
        """Nothing: what was paid and spent is kept for ever, under the organization's id (C1)."""


def _ledger(actor: Actor) -> Iterator[str]:
    yield csv_lines([_HEADER])
    before, is_more = "", True
    while is_more:
        lines, before = ledger.page(actor, ledger.Filters(), before=before)
        yield csv_lines(
            (
                line.entry.posted_at.isoformat(),
                line.entry.kind,
                line.entry.amount_nanos,
                line.who,
                line.model,
                line.entry.note,
            )
            for line in lines
        )
        is_more = bool(before)
