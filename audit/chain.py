"""The chain of the trail: what was written, in an order that nobody can change unseen (L4).

Whoever writes an entry holds no lock for it. The entry is born *loose*, in the transaction of the
deed, with a digest that is sealed under a field key, so that nobody without that key can slip one
in or change it while it waits. Every few seconds one linker at a time, who holds the row of
``Chain``, gives each loose entry its number and a digest over itself and the digest before it.
Docs: docs/decisions/0040-chain-of-the-trail.md.
"""

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import transaction

from audit.models import Chain, Check, Entry, Link, Loose
from roocloud.lib import caching, crypto, sealed
from roocloud.lib.crypto import CannotUnseal

logger = logging.getLogger(__name__)

#: Entries that are linked in one transaction.
_AT_ONCE = 500
#: Where the shared cache remembers the end of the chain: outside the database, so that a chain that
#: was cut there is noticed.
_END_KEY, _END_KEPT_S = "audit.end", 30 * 24 * 3600
_KEY_CONTEXT = "audit.chain.key"


def content(entry: Entry) -> bytes:
    """What the digests cover: every field that says something, so that a column which is added
    later leaves the digests of earlier entries as they are. The same for an entry that is about to
    be written and for one that either database gives back."""
    facts = {field.attname: getattr(entry, field.attname) for field in entry._meta.concrete_fields}
    said = {name: _plain(value) for name, value in facts.items() if value not in (None, "")}
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return int(value.timestamp()) * 1_000_000 + value.microsecond
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):  # 1.0 and 1 are one number in PostgreSQL's documents
        return f"{Decimal(repr(value)).normalize() + 0:f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{Decimal(value):f}"
    return value


def loosen(entries: Sequence[Entry]) -> None:
    """Note entries that the caller's transaction has just written, to be linked. One query."""
    Loose.objects.bulk_create(loose(entry) for entry in entries)


def loose(entry: Entry) -> Loose:
    """What is written beside an entry until it is linked."""
    digest = hashlib.sha256(content(entry)).digest()
    return Loose(
        entry_id=entry.pk, sealed_digest=crypto.seal(digest, context=_loose_context(entry.pk))
    )


def _loose_context(entry_id: str) -> str:
    return f"audit.loose.digest:{entry_id}"


def fault_of(row: Loose, entry: Entry | None) -> str:
    """What is wrong with an entry that waits; empty if it is as it was written."""
    if entry is None:
        return "deleted before it was linked"
    try:
        written = crypto.unseal(row.sealed_digest, context=_loose_context(row.entry_id))
    except CannotUnseal:
        return "not written by this server"
    is_same = hmac.compare_digest(written, hashlib.sha256(content(entry)).digest())
    return "" if is_same else "changed before it was linked"


def digest_of(link: Link, entry: Entry | None, *, previous: str, key: bytes) -> str:
    """64 hex digits over the link, its entry, and the digest of the link before it."""
    at = _plain(link.linked_at)
    head = f"{link.sequence}|{link.entry_id}|{link.fault}|{at}|{previous}|".encode()
    return hmac.new(key, head + (content(entry) if entry else b""), hashlib.sha256).hexdigest()


def key_of(chain: Chain) -> bytes:
    """Raises CannotUnseal."""
    return crypto.unseal(chain.sealed_key, context=_KEY_CONTEXT)


def renewed_key(chain: Chain) -> str | None:
    """See roocloud.lib.sealed."""
    return sealed.renewed(chain.sealed_key, context=_KEY_CONTEXT)


def renewed_loose(row: Loose) -> str | None:
    """The same."""
    return sealed.renewed(row.sealed_digest, context=_loose_context(row.entry_id))


def link(*, at: datetime) -> int:
    """Link whatever is loose; how many entries. Any number of callers take turns.

    Raises CannotUnseal where the key of the chain was sealed under a field key that is gone.
    """
    linked = 0
    while Loose.objects.exists():
        with transaction.atomic():
            found = _link_some(at=at)
        linked += found
        if not found:
            break
    return linked


def _link_some(*, at: datetime) -> int:
    chain = _hold(at=at)
    waiting = list(Loose.objects.order_by("pk")[:_AT_ONCE])
    entries = Entry.objects.in_bulk([row.entry_id for row in waiting])
    key, links = key_of(chain), []
    for row in waiting:
        chain.sequence += 1
        entry = entries.get(row.entry_id)
        made = Link(
            sequence=chain.sequence,
            entry_id=row.entry_id,
            fault=fault_of(row, entry),
            linked_at=at,
        )
        made.digest = chain.digest = digest_of(made, entry, previous=chain.digest, key=key)
        links.append(made)
        if made.fault:
            logger.error(
                "An entry of the audit trail was tampered with",
                extra={"entry": row.entry_id, "fault": made.fault},
            )
    Link.objects.bulk_create(links)
    Loose.objects.filter(pk__in=[row.pk for row in waiting]).delete()
    chain.save(update_fields=["sequence", "digest"])
    end = f"{chain.sequence}:{chain.digest}"
    transaction.on_commit(partial(caching.remember, _END_KEY, end, seconds=_END_KEPT_S))
    return len(links)


def _hold(*, at: datetime) -> Chain:
    """The row of the chain, locked: entries get their numbers one linker after another."""
    key = crypto.seal(secrets.token_bytes(32), context=_KEY_CONTEXT)
    chain, is_new = Chain.objects.select_for_update().get_or_create(
        pk=1, defaults={"sealed_key": key}
    )
    if not is_new:
        _notice_a_cut(chain, at=at)
    return chain


def remembered_end() -> tuple[int, str] | None:
    """(sequence, digest) at which the chain ended when something was linked last, as the cache
    remembers it; None if it does not."""
    sequence, _, digest = (caching.recall(_END_KEY) or "").partition(":")
    return (int(sequence), digest) if digest else None


def _notice_a_cut(chain: Chain, *, at: datetime) -> None:
    """Keep on record that the chain is not the one that it was a moment ago: linking goes on, and
    would hide it."""
    end = remembered_end()
    if end in (None, (chain.sequence, chain.digest)):
        return
    sequence, digest = end
    if Link.objects.filter(sequence=sequence, digest=digest).exists():
        return  # another linker has gone further
    fault = f"link {sequence}: the chain had reached it, and it is gone or another one"
    logger.error("The audit trail was cut", extra={"sequence": sequence, "digest": digest})
    Check.objects.create(
        at=at, is_intact=False, links=chain.sequence, digest=chain.digest, fault=fault
    )


def places(entry_ids: Iterable[str]) -> dict[str, Link]:
    """The links of entries by their ids; those that are loose are left out."""
    return {link.entry_id: link for link in Link.objects.filter(entry_id__in=set(entry_ids))}
