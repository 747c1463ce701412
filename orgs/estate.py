"""What organizations own, in every room: what an export holds, and what goes when one is deleted.

An organization that is deleted leaves its row, without name and people, because the ledger and the
trail refer to it. What else there is goes room by room, each by its own rules: rooms above register
themselves while apps load. Nothing is deleted by a cascade from here.
"""

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from accounts.actors import Actor
from orgs.models import (
    Invitation,
    MarketplaceItem,
    Membership,
    Organization,
    SettingsDraft,
    SettingsRevision,
)

#: Of what is read at once for a file.
_BATCH = 500


class Part(Protocol):
    """What a room has of organizations."""

    def files(self, actor: Actor, *, at: datetime) -> Iterable[tuple[str, Iterator[str]]]:
        """The files of an export for an owner in the organization: a name and its text, in pieces.
        No query stays open between two pieces."""

    def clear(self, organization_id: str, *, at: datetime) -> None:
        """Delete what goes with the organization, whose members are gone by then. What was cut off
        is called again from the start."""


_parts: list[Part] = []


def register(part: Part) -> None:
    """Add a room; called while apps are loaded."""
    _parts.append(part)


def clear(organization_id: str, *, at: datetime) -> None:
    """Delete what the rooms above have of an organization."""
    for part in _parts:
        part.clear(organization_id, at=at)


def zipped(actor: Actor, *, at: datetime) -> Iterator[bytes]:
    """Everything as a ZIP archive, in pieces, for an owner in the organization."""
    out = _Outlet()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in (_Own(), *_parts):
            for name, text in part.files(actor, at=at):
                with archive.open(name, "w", force_zip64=True) as entry:
                    for piece in text:
                        entry.write(piece.encode("utf-8", "replace"))
                        if found := out.taken():
                            yield found
    yield out.taken()


class _Outlet(io.RawIOBase):
    """Where an archive is written to, to be taken away as it grows."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        found = b"".join(self._pieces)
        self._pieces.clear()
        return found


class _Own:
    """What this room has. Secrets, also as hashes, are not among it."""

    def files(self, actor: Actor, *, at: datetime) -> Iterable[tuple[str, Iterator[str]]]:
        mine = {"organization_id": actor.organization_id}
        members = Membership.unscoped.filter(**mine).annotate_addresses()
        invitations = Invitation.unscoped.filter(**mine)
        revisions = SettingsRevision.unscoped.filter(**mine)
        drafts = SettingsDraft.unscoped.filter(**mine)
        items = MarketplaceItem.unscoped.filter(**mine)
        organization = Organization.unscoped.filter(pk=actor.organization_id)
        yield "organization.jsonl", _rows(organization, "id", "name", "slug", "created_at")
        yield "members.jsonl", _rows(members, "user_id", "email", "role", "created_at", "id")
        yield (
            "invitations.jsonl",
            _rows(
                invitations, "email", "domain", "role", "max_uses", "uses", "made_by_id",
                "created_at", "expires_at", "accepted_at", "revoked_at", "id",
            ),
        )  # fmt: skip
        yield (
            "settings.jsonl",
            _rows(
                revisions, "version", "made_by_id", "approved_by_id", "made_at", "note", "document",
                key="version",
            ),
        )  # fmt: skip
        yield (
            "proposed-settings.jsonl",
            _rows(
                drafts, "id", "author_id", "base_version", "note", "document", "changed_at",
                "proposed_at", "decided_at", "decided_by_id", "version",
            ),
        )  # fmt: skip
        yield "marketplace.jsonl", _rows(items, "id", "kind", "document", "changed_at")

    def clear(self, organization_id: str, *, at: datetime) -> None:
        """This room clears itself when a deletion begins; see orgs.actions.deletion."""


def _rows(rows: Any, *fields: str, key: str = "id") -> Iterator[str]:
    """Rows as lines of JSON, in batches by their key."""
    after: Mapping[str, Any] = {}
    while batch := list(rows.filter(**after).order_by(key).values(*fields)[:_BATCH]):
        yield "".join(json.dumps(row, default=_text) + "\n" for row in batch)
        after = {f"{key}__gt": batch[-1][key]}


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
