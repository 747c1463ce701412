"""The share guard: what leaves the organization by a public link is scanned first, and masked.

A task is guarded from the moment that its author thinks of sharing it. From then on its new and
changed messages wait to be scanned, and are, each version once, before the next stranger reads.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Exists, QuerySet
from django.db.models.expressions import Combinable

from accounts.actors import Actor
from audit import actions as audit
from roocloud.lib import crypto, wire
from roocloud.lib.ids import digest
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import clean_label
from tasks_sharing import detection, masking
from tasks_sharing.detection import Needle, Secret
from tasks_sharing.masking import Masks, Place
from tasks_sharing.models import Mask, Message, Share, Task

#: Texts, and parts of texts, that are masked of a task one by one; a message that has more is
#: hidden as a whole. Bounds what masking a page costs (F7).
MAX_NEEDLES = 400
MIN_TEXT, MAX_TEXT = 4, 20_000
MAX_LINES = 100
_BATCH = 50


class NotInConversation(InvalidInput):
    """What the author wants to mask is not there: a typing error must not pass for a mask."""


# --- What a reader gets -----------------------------------------------------------------------


def masks_for(share: Share, *, at: datetime) -> Masks:
    """What the readers of a link do not see. Members of the organization see everything."""
    if share.visibility != Share.Visibility.PUBLIC:
        return masking.NONE
    scan(share.task, at=at)
    return masks_of(share.task)


def masks_of(task: Task) -> Masks:
    """What is masked of a task whose messages were scanned."""
    texts: dict[Needle, str] = {}
    files: dict[str, str] = {}
    places: dict[Place, str] = {}
    for mask in standing(task):
        token = masking.token(mask.kind, mask.number)
        if mask.scope == Mask.Scope.MESSAGE:
            places[_place(mask)] = token
        elif mask.scope == Mask.Scope.FILE:
            files[unsealed(mask)] = token
        else:
            for needle in _needles(unsealed(mask)):
                for spelling in masking.spellings(needle):
                    texts.setdefault(spelling, token)
    return Masks(texts, files, places, hides_emails=task.masks_emails, is_public=True)


def standing(task: Task) -> QuerySet[Mask]:
    """The masks that count, oldest first."""
    return task.masks.filter(lifted_at=None).order_by("created_at", "pk")


def unsealed(mask: Mask) -> Any:
    """What is masked: the needles of a text as lists, the path of a file."""
    return wire.loads(crypto.unseal(mask.sealed, context=mask.sealed_context))


def beginning(mask: Mask) -> str:
    """So much of what is masked that its author knows it again: four characters at most, and never
    more than a quarter."""
    if mask.scope == Mask.Scope.FILE:
        return str(unsealed(mask))
    if mask.scope == Mask.Scope.MESSAGE:
        return ""
    text = _needles(unsealed(mask))[0].text.strip()
    return f"{text[: min(4, len(text) // 4)]}…"


# --- What the author decides ------------------------------------------------------------------


def mask_text(*, task: Task, text: str, by: Actor, at: datetime) -> Mask:
    """Mask a text wherever it stands. Of several lines that the conversation does not hold in one
    piece, because the page shows them otherwise than they were written, each is masked.

    Raises InvalidInput for a text that is too short or long, and NotInConversation.
    """
    whole = "\n".join(text.splitlines()).strip()
    lines = list(dict.fromkeys(line.strip() for line in whole.split("\n")))
    lines = [line for line in lines if len(line) >= MIN_TEXT]
    if not lines or len(whole) > MAX_TEXT or len(lines) > MAX_LINES:
        raise InvalidInput(
            f"Give {MIN_TEXT} to {MAX_TEXT:,} characters, in at most {MAX_LINES} lines"
        )
    with _deciding(task) as shelf:
        places = _places(task, [whole, *lines])
        needles = [Needle(whole)] if whole in places else [Needle(line) for line in lines]
        if missing := [needle.text for needle in needles if needle.text not in places]:
            raise NotInConversation(
                f"“{clean_label(missing[0], 60)}” is not in the conversation as it was written. "
                "Leave out what the page adds, such as bold type, or hide the message."
            )
        if shelf.needles + len(needles) > MAX_NEEDLES:
            raise InvalidInput("This many texts are masked already: hide whole messages instead")
        fingerprint = _fingerprint(task, Mask.Scope.TEXT, [n.text for n in needles])
        if fingerprint not in shelf.fingerprints:
            row = places[needles[0].text]
            shelf.add_text("text", needles, fingerprint, row, at=at, by=by.user_id)
        return _decided(shelf, fingerprint, by=by, at=at)


def mask_file(*, task: Task, path: str, by: Actor, at: datetime) -> Mask:
    """Mask all that tools say of a file: what they read, wrote and changed. Its path stays, and so
    does what a terminal printed of it.

    Raises NotInConversation.
    """
    with _deciding(task) as shelf:
        rows = task.messages.order_by("ts", "pk").iterator(chunk_size=_BATCH)
        row = next((row for row in rows if path in masking.paths(row)), None)
        if row is None:
            raise NotInConversation("No tool of this conversation used a file of that path")
        fingerprint = _fingerprint(task, Mask.Scope.FILE, path)
        if fingerprint not in shelf.fingerprints:
            shelf.add_file(path, fingerprint, row, at=at, by=by.user_id)
        return _decided(shelf, fingerprint, by=by, at=at)


def hide_message(*, message: Message, by: Actor, at: datetime) -> Mask:
    """Hide all of a message, with its images."""
    with _deciding(message.task) as shelf:
        shelf.hide(message, at=at, by=by.user_id)
        place = [message.ts, message.type, message.kind]
        fingerprint = _fingerprint(message.task, Mask.Scope.MESSAGE, place)
        return _decided(shelf, fingerprint, by=by, at=at)


def lift(*, mask: Mask, by: Actor, at: datetime) -> bool:
    """Show what a mask hides. True for the call that did it."""
    with transaction.atomic():
        if not Mask.unscoped.filter(pk=mask.pk, lifted_at=None).update(lifted_at=at):
            return False
        _audit("mask.lifted", mask, by=by, at=at)
    return True


def put_back(*, mask: Mask, by: Actor, at: datetime) -> bool:
    """Hide again what a lifted mask hid. True for the call that did it."""
    with transaction.atomic():
        if not Mask.unscoped.filter(pk=mask.pk).exclude(lifted_at=None).update(lifted_at=None):
            return False
        _audit("mask.put_back", mask, by=by, at=at)
    return True


def mask_emails(*, task: Task, on: bool, by: Actor, at: datetime) -> bool:
    """Mask every e-mail address, or none. True for the call that changed it."""
    with transaction.atomic():
        if not Task.unscoped.filter(pk=task.pk, masks_emails=not on).update(masks_emails=on):
            return False
        audit.record(
            action="task.masking_changed",
            actor=by,
            organization_id=task.organization_id,
            target_kind="task",
            target_id=task.pk,
            before={"masks_emails": not on},
            after={"masks_emails": on},
            at=at,
        )
    return True


@contextmanager
def _deciding(task: Task) -> Iterator["_Shelf"]:
    """The masks of a task in a transaction that holds its row: numbers are given out once."""
    with transaction.atomic():
        yield _Shelf(Task.unscoped.select_for_update().get(pk=task.pk))


def _decided(shelf: "_Shelf", fingerprint: str, *, by: Actor, at: datetime) -> Mask:
    """The author's mask: the one that was just added, or the one that was there, put back."""
    for mask in shelf.new:
        mask.save(force_insert=True)
        _audit("mask.added", mask, by=by, at=at)
        return mask
    mask = shelf.task.masks.get(fingerprint=fingerprint)
    put_back(mask=mask, by=by, at=at)
    return mask


def _audit(action: str, mask: Mask, *, by: Actor, at: datetime) -> None:
    audit.record(
        action=action,
        actor=by,
        organization_id=mask.task.organization_id,
        target_kind="mask",
        target_id=mask.pk,
        after={"task": mask.task_id, "scope": mask.scope, "kind": mask.kind, "number": mask.number},
        at=at,
    )


def _places(task: Task, texts: Iterable[str]) -> dict[str, Message]:
    """The first message that each text stands in; those that are nowhere are left out."""
    wanted = {text: Masks(dict.fromkeys(masking.spellings(Needle(text)), "")) for text in texts}
    found: dict[str, Message] = {}
    for row in task.messages.order_by("ts", "pk").iterator(chunk_size=_BATCH):
        for text in [text for text, masks in wanted.items() if masks.message(row) is not row]:
            found[text] = row
            del wanted[text]
        if not wanted:
            break
    return found


# --- Scanning ---------------------------------------------------------------------------------


def awaits_scan(task_pk: str) -> Combinable:
    """For the writer of a message: whether it is to be scanned. The database decides, so that a
    message which is written while its task is shared is not passed over."""
    guarded = Task.unscoped.filter(pk=task_pk).exclude(guarded_by="")
    return Exists(guarded)


def marked(task: Task, rows: Iterable[Message]) -> list[Message]:
    """The rows of a snapshot, each with whether it is to be scanned. task: its row is locked, and
    it still holds what the snapshot replaces: what was scanned before is not scanned again."""
    rows = list(rows)
    if task.guarded_by:
        known = set(task.messages.exclude(scan_key="").values_list("scan_key", flat=True))
        for row in rows:
            key = scan_key(row.body)
            row.awaits_scan, row.scan_key = key not in known, key if key in known else ""
    return rows


def scan(task: Task, *, at: datetime) -> None:
    """Scan what of a task was not scanned yet: everything at first, later what is new.

    Costs one query if there is nothing to do. Bounded transactions, so that the editor's messages
    come between; each holds the task's row, so that no message changes under the scan.
    """
    if task.guarded_by != detection.VERSION:
        with transaction.atomic():
            Task.unscoped.select_for_update().get(pk=task.pk)
            task.messages.update(awaits_scan=True)
            Task.unscoped.filter(pk=task.pk).update(guarded_by=detection.VERSION)
        task.guarded_by = detection.VERSION
    while task.messages.filter(awaits_scan=True).exists():
        detection.prepare()
        with transaction.atomic():
            locked = Task.unscoped.select_for_update().get(pk=task.pk)
            rows = list(locked.messages.filter(awaits_scan=True).order_by("ts", "pk")[:_BATCH])
            _scan(locked, rows, at=at)


def scan_key(body: str) -> str:
    """Names a body as the present detector scanned it."""
    return digest(f"{detection.VERSION}\n{body}")


def _scan(task: Task, rows: list[Message], *, at: datetime) -> None:
    found: list[tuple[Secret, Message]] = []
    for row in rows:
        key = scan_key(row.body)
        if row.scan_key != key:
            found += [(secret, row) for secret in detection.find(_document(row))]
        row.awaits_scan, row.scan_key = False, key
    _mask(task, found, at=at)
    Message.unscoped.bulk_update(rows, ["awaits_scan", "scan_key"])


def _document(row: Message) -> Any:
    try:
        return wire.loads(row.body.encode())
    except InvalidInput:
        return {}


def _mask(task: Task, found: Iterable[tuple[Secret, Message]], *, at: datetime) -> None:
    """Mask what a scan found and is not masked yet, also if the author lifted its mask."""
    shelf = _Shelf(task)
    for secret, row in found:
        one = secret.needles[0]
        fingerprint = _fingerprint(task, Mask.Scope.TEXT, [one.before, one.text, one.after])
        if fingerprint in shelf.fingerprints:
            continue
        if shelf.needles + len(secret.needles) > MAX_NEEDLES:
            shelf.hide(row, at=at)
        else:
            shelf.add_text(secret.kind, secret.needles, fingerprint, row, at=at)
    Mask.unscoped.bulk_create(shelf.new)


class _Shelf:
    """The masks of a task whose row is locked, and those that are being added."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.new: list[Mask] = []
        self.fingerprints: set[str] = set()
        self.needles = 0
        self._numbers: Counter[str] = Counter()
        for mask in task.masks.order_by("pk"):
            self.fingerprints.add(mask.fingerprint)
            self._numbers[mask.kind] = max(self._numbers[mask.kind], mask.number)
            if mask.scope == Mask.Scope.TEXT:
                self.needles += len(unsealed(mask))

    def add_text(
        self,
        kind: str,
        needles: Iterable[Needle],
        fingerprint: str,
        row: Message,
        *,
        at: datetime,
        by: str = "",
    ) -> Mask:
        listed = [[needle.text, needle.before, needle.after] for needle in needles]
        self.needles += len(listed)
        return self._add(Mask.Scope.TEXT, kind, fingerprint, row, sealed=listed, at=at, by=by)

    def add_file(self, path: str, fingerprint: str, row: Message, *, at: datetime, by: str) -> Mask:
        return self._add(Mask.Scope.FILE, "file", fingerprint, row, sealed=path, at=at, by=by)

    def hide(self, row: Message, *, at: datetime, by: str = "") -> Mask | None:
        """None if the message is hidden already, or was shown again by its author."""
        place = [row.ts, row.type, row.kind]
        fingerprint = _fingerprint(self.task, Mask.Scope.MESSAGE, place)
        if fingerprint in self.fingerprints:
            return None
        return self._add(Mask.Scope.MESSAGE, "message", fingerprint, row, sealed=None, at=at, by=by)

    def _add(
        self,
        scope: str,
        kind: str,
        fingerprint: str,
        row: Message,
        *,
        sealed: Any,
        at: datetime,
        by: str,
    ) -> Mask:
        self._numbers[kind] += 1
        mask = Mask(
            task=self.task,
            scope=scope,
            kind=kind,
            number=self._numbers[kind],
            fingerprint=fingerprint,
            message_ts=row.ts,
            message_type=row.type,
            message_kind=row.kind,
            made_by_id=by,
            created_at=at,
        )
        if sealed is not None:
            mask.sealed = crypto.seal(wire.dumps(sealed), context=mask.sealed_context)
        self.fingerprints.add(fingerprint)
        self.new.append(mask)
        return mask


def _fingerprint(task: Task, scope: str, what: Any) -> str:
    return digest(wire.dumps([task.pk, scope, what]))


def _needles(listed: Any) -> list[Needle]:
    return [Needle(*parts) for parts in listed]


def _place(mask: Mask) -> Place:
    return mask.message_ts, mask.message_type, mask.message_kind
