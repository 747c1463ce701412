"""Is the trail as it was written? A look through the whole chain, in bounded memory (L4, N9)."""

import hmac
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Subquery

from audit import chain
from audit.models import Chain, Check, Entry, Link, Loose
from roocloud.lib.crypto import CannotUnseal

logger = logging.getLogger(__name__)

_CHUNK = 1_000
#: Earlier ends of the chain that it is held to.
_CHECKS = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """links: how many were looked at; digest: of the last one. loose: entries that wait to be
    linked. fault: the first bad row and what is wrong with it; empty: the trail is intact."""

    links: int
    digest: str
    loose: int
    fault: str

    @property
    def is_intact(self) -> bool:
        return not self.fault


def verify(*, ends: Mapping[int, str] | None = None) -> Verdict:
    """Look through the chain. Entries may be written and linked meanwhile.

    ends: digests by sequence that were noted elsewhere, and that the chain must still contain.
    """
    end = chain.remembered_end()  # before the row is read, which is never behind it
    head = Chain.objects.filter(pk=1).first()
    known = _known_ends() | dict([end] if end else []) | dict(ends or {})
    if head is None:
        is_gone = known or Link.objects.exists()
        fault = "the chain's own row is missing" if is_gone else _unlinked() or _waiting()
        return Verdict(0, "", Loose.objects.count(), fault)
    fault = _walk(head, known) or _beyond() or _unlinked() or _waiting()
    return Verdict(head.sequence, head.digest, Loose.objects.count(), fault)


def check(*, at: datetime) -> Check:
    """Verify, and keep on record what was found. The end of the chain goes into the log too: a copy
    that whoever changes the database does not reach."""
    verdict = verify()
    found = Check.objects.create(
        at=at,
        is_intact=verdict.is_intact,
        links=verdict.links,
        digest=verdict.digest,
        fault=verdict.fault[:300],
    )
    end = {"sequence": verdict.links, "digest": verdict.digest}
    if verdict.is_intact:
        logger.info("The audit trail is intact", extra=end)
    else:
        logger.error("The audit trail was tampered with", extra={**end, "fault": verdict.fault})
    return found


def _known_ends() -> dict[int, str]:
    """Where the chain ended at earlier checks that found it intact."""
    rows = Check.objects.filter(is_intact=True, links__gt=0).order_by("-at", "pk")
    return dict(rows.values_list("links", "digest")[:_CHECKS])


def _walk(head: Chain, known: Mapping[int, str]) -> str:
    """The first fault from link 1 to the end of the chain."""
    try:
        key = chain.key_of(head)
    except CannotUnseal:
        return "the chain's key was changed, or its field key is gone"
    sequence, digest = 0, ""
    for link, entry in _links(head.sequence):
        sequence += 1
        if link.sequence != sequence:
            return f"link {sequence} is missing"
        name = f"link {sequence}, entry {link.entry_id}"
        if link.fault:
            return f"{name}: {link.fault}"
        if entry is None:
            return f"{name}: the entry was deleted"
        expected = chain.digest_of(link, entry, previous=digest, key=key)
        if not hmac.compare_digest(expected, link.digest):
            return f"{name}: the entry, its link or their order was changed"
        digest = link.digest
        if known.get(sequence, digest) != digest:
            return f"{name}: the chain had another link here before"
    if sequence < head.sequence:
        return f"link {sequence + 1} is missing"
    if digest != head.digest:
        return "the chain's own row was changed"
    lost = [end for end in known if end > sequence]
    return f"link {sequence + 1} is missing: the chain had reached {max(lost)}" if lost else ""


def _links(last: int) -> Iterator[tuple[Link, Entry | None]]:
    """In their order, each with its entry. Two queries for each thousand."""
    after: int | None = None
    while True:
        rows = Link.objects.filter(sequence__lte=last).order_by("sequence")
        links = list((rows if after is None else rows.filter(sequence__gt=after))[:_CHUNK])
        if not links:
            return
        entries = Entry.objects.in_bulk([link.entry_id for link in links])
        for link in links:
            yield link, entries.get(link.entry_id)
        after = links[-1].sequence


def _beyond() -> str:
    """In one statement, so that links which are just being added do not count."""
    end = Chain.objects.filter(pk=1).values("sequence")
    link = Link.objects.filter(sequence__gt=Subquery(end)).order_by("sequence").first()
    return f"link {link.sequence}, entry {link.entry_id}: beyond the chain's end" if link else ""


def _unlinked() -> str:
    """Every entry is linked or waits for it; the same in one statement."""
    linked = Link.objects.filter(entry_id=OuterRef("pk"))
    waits = Loose.objects.filter(entry_id=OuterRef("pk"))
    entry = Entry.objects.filter(~Exists(linked), ~Exists(waits)).order_by("at", "pk").first()
    return f"entry {entry.pk}: not written by this server, or its link was deleted" if entry else ""


def _waiting() -> str:
    after = 0
    while rows := list(Loose.objects.filter(pk__gt=after).order_by("pk")[:_CHUNK]):
        entries = Entry.objects.in_bulk([row.entry_id for row in rows])
        for row in rows:
            if fault := chain.fault_of(row, entries.get(row.entry_id)):
                return f"entry {row.entry_id}: {fault}"
        after = rows[-1].pk
    return ""
