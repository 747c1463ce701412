"""Importing archives of tasks: begun by a person, carried out by a job that may be interrupted."""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from django.core.files.base import File
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import F
from django.utils import timezone

from accounts import memberships
from accounts.actors import Actor, TokenKind
from audit import actions as audit
from roocloud.lib.ids import new_id
from roocloud.lib.refusals import Conflict, InvalidInput, Refusal
from roocloud.lib.text import clean_label
from tasks_sharing.imports import formats
from tasks_sharing.imports.files import Archive, Source, Unreadable, label_of
from tasks_sharing.imports.storing import History, add_history, require_recording
from tasks_sharing.models import Import, ImportedTask

logger = logging.getLogger(__name__)

#: An import without a sign of life for this long is taken up again.
RESUME_AFTER = timedelta(minutes=2)
#: After so many interruptions at the same task that one is skipped.
MAX_ATTEMPTS = 3
_MALFORMED = (ArithmeticError, LookupError, TypeError, ValueError, DatabaseError)
Outcome = ImportedTask.Outcome


class NothingToImport(InvalidInput):
    """The archive or the folder holds no task."""

    def __init__(self) -> None:
        super().__init__(
            "No task is in it. Choose the folder named tasks, or an archive of it: each task is a "
            "folder there, with a file ui_messages.json."
        )


def _warn(sentence: str, fault: Exception) -> None:
    """Without its text, which may be of a conversation (I1)."""
    logger.warning(sentence, extra={"fault": type(fault).__name__})


# --- One task ---------------------------------------------------------------------------------


def read_task(source: Source, folder: str, *, listed: formats.Listed) -> History:
    """The task of a folder. Raises Unreadable, whose message says why it is skipped."""
    try:
        return formats.read(source, folder, listed=listed)
    except _MALFORMED as fault:
        _warn("A task's files could not be read", fault)
        raise Unreadable("Its files could not be read") from None


def store_task(*, actor: Actor, history: History, at: datetime) -> tuple[str, int]:
    """Add a task to what is on record: the outcome, and the number of messages that were new.
    Raises Unreadable, whose message says why it is skipped."""
    try:
        added = add_history(actor=actor, history=history, at=at)
    except (OperationalError, InterfaceError):
        raise  # the database is away, and not the task to blame
    except Refusal as refusal:
        raise Unreadable(refusal.message) from None
    except _MALFORMED as fault:
        _warn("A task could not be stored", fault)
        raise Unreadable("It could not be stored") from None
    if added.is_new:
        return Outcome.NEW, added.message_count
    return (Outcome.ADDED if added.message_count else Outcome.SAME), added.message_count


def import_folders(
    *, actor: Actor, source: Source, at: datetime
) -> Iterator[tuple[str, str, str, int]]:
    """Import every task of a source at once: folder, outcome, reason and number of new messages of
    each. Whatever was stored before it is interrupted stays, and is passed over the next time.

    Raises NothingToImport, and Forbidden if the actor's organization records nothing.
    """
    require_recording(actor.organization_id)
    if not source.folders:
        raise NothingToImport
    audit.record(
        action="import.started",
        actor=actor,
        target_kind="user",
        target_id=actor.user_id,
        after={"tasks": len(source.folders)},
        at=at,
    )
    listed = formats.items_of(source)
    for folder in source.folders:
        try:
            history = read_task(source, folder, listed=listed)
            outcome, count = store_task(actor=actor, history=history, at=at)
        except Unreadable as reason:
            yield label_of(folder), Outcome.SKIPPED, reason.message, 0
        else:
            yield label_of(folder), outcome, "", count


# --- An uploaded archive ----------------------------------------------------------------------


def start_import(*, by: Actor, upload: File[bytes], at: datetime) -> Import:
    """Keep an archive, and queue the job that imports its tasks. When this returns it is durable.

    Raises InvalidInput for what is no archive of tasks, Forbidden if the organization records no
    conversations, Conflict while another import of the person runs.
    """
    from tasks_sharing.tasks import run_import

    require_recording(by.organization_id)
    total = len(Archive(upload.file).folders)  # type: ignore[arg-type]  # opened for bytes
    if not total:
        raise NothingToImport
    upload.seek(0)
    run = Import(
        owner_id=by.user_id,
        organization_id=by.organization_id,
        total=total,
        started_at=at,
        tried_at=at,
    )
    run.upload.save(f"{new_id('archive')}.zip", upload, save=False)
    try:
        with transaction.atomic():
            run.save(force_insert=True)
            _audit("import.started", run, by=by, at=at)
            run_import.delay_on_commit(import_id=run.pk)
    except IntegrityError:
        run.upload.delete(save=False)
        raise Conflict("Another import of yours is running: wait for it, or cancel it") from None
    except Exception:
        run.upload.delete(save=False)
        raise
    return run


def run_import(*, import_id: str, is_time_up: Callable[[], bool]) -> bool:
    """Import what is left of an archive, task by task; True if time was up before its end.

    Killed at any point, it is taken up where it was. Run twice at once, each task is stored once.
    """
    run = Import.unscoped.running().select_related("owner").filter(pk=import_id).first()
    if run is None:
        return False
    actor = _actor_of(run)
    if actor is None:
        _end(run, Import.State.FAILED, error="You do not belong to the organization any more")
        return False
    try:
        require_recording(run.organization_id)
        with run.upload.open("rb") as file:
            return _go_on(run, actor, Archive(file.file), is_time_up)
    except (Refusal, FileNotFoundError) as fault:
        logger.warning("An import failed", extra={"import": run.pk})
        message = fault.message if isinstance(fault, Refusal) else "The archive is gone"
        _end(run, Import.State.FAILED, error=message)
        return False


_STUCK = "The server was interrupted at it again and again"


def _read(source: Source, folder: str, listed: formats.Listed) -> History | str:
    """The task of a folder, or why it is skipped."""
    try:
        return read_task(source, folder, listed=listed)
    except Unreadable as reason:
        return reason.message


def _go_on(run: Import, actor: Actor, source: Source, is_time_up: Callable[[], bool]) -> bool:
    listed = formats.items_of(source)
    finished = set(run.tasks.values_list("position", flat=True))
    is_stuck = run.attempts >= MAX_ATTEMPTS
    for position, folder in enumerate(source.folders):
        if position in finished:
            continue
        # Also how a job that was cancelled learns of it.
        alive = Import.unscoped.running().filter(pk=run.pk)
        if not alive.update(tried_at=timezone.now(), attempts=F("attempts") + 1):
            return False
        history = _STUCK if is_stuck else _read(source, folder, listed)
        is_stuck = False
        _finish(run, actor, position, folder, history)
        if is_time_up():
            return position + 1 < len(source.folders) or _end(run, Import.State.DONE)
    return _end(run, Import.State.DONE)


def _finish(run: Import, actor: Actor, position: int, folder: str, history: History | str) -> None:
    """Store a task, or the reason why not, and that it is done with, in one transaction."""
    now = timezone.now()
    with transaction.atomic():
        row, is_mine = ImportedTask.unscoped.get_or_create(
            run=run,
            position=position,
            defaults={"name": label_of(folder), "outcome": Outcome.SKIPPED},
        )
        if not is_mine:  # a second worker was quicker
            return
        if isinstance(history, History):
            row.task_id = history.task_id
            try:
                row.outcome, row.message_count = store_task(actor=actor, history=history, at=now)
            except Unreadable as reason:
                row.reason = clean_label(reason.message, 300)
        else:
            row.reason = clean_label(history, 300)
        row.save(update_fields=["task_id", "outcome", "reason", "message_count"])
        Import.unscoped.filter(pk=run.pk).update(attempts=0)


def _actor_of(run: Import) -> Actor | None:
    """Who imports, with the rights that they have now (A4); None if they lost them."""
    role = None
    if run.organization_id is not None:
        role = memberships.role_of(user_id=run.owner_id, organization_id=run.organization_id)
    if not run.owner.is_active or (run.organization_id is not None and role is None):
        return None
    return Actor(run.owner_id, run.organization_id, role, TokenKind.WEB)


def _end(run: Import, state: str, *, error: str = "") -> bool:
    """Close an import that runs. Always False: nothing is left to do."""
    with transaction.atomic():
        Import.unscoped.running().filter(pk=run.pk).update(
            state=state, error=clean_label(error, 300), ended_at=timezone.now()
        )
        transaction.on_commit(lambda: _drop_upload(run))
    return False


def _drop_upload(run: Import) -> None:
    run.upload.delete(save=False)
    Import.unscoped.filter(pk=run.pk).update(upload="")


def cancel_import(*, run: Import, by: Actor, at: datetime) -> bool:
    """Stop an import after the task that it is at; what was imported stays. True for the call that
    did it."""
    with transaction.atomic():
        ended = Import.unscoped.running().filter(pk=run.pk)
        if not ended.update(state=Import.State.CANCELLED, ended_at=at):
            return False
        _audit("import.cancelled", run, by=by, at=at)
        transaction.on_commit(lambda: _drop_upload(run))
    return True


def _audit(action: str, run: Import, *, by: Actor, at: datetime) -> None:
    audit.record(
        action=action,
        actor=by,
        organization_id=run.organization_id,
        target_kind="import",
        target_id=run.pk,
        after={"tasks": run.total},
        at=at,
    )


def due_imports(*, at: datetime) -> list[str]:
    """Ids of imports that run, and that nobody has worked on for a while."""
    due = Import.unscoped.running().filter(tried_at__lt=at - RESUME_AFTER)
    return list(due.order_by("tried_at", "pk").values_list("pk", flat=True)[:100])


def drop_uploads() -> None:
    """Delete archives of imports that ended just before their process did."""
    ended = Import.unscoped.exclude(state=Import.State.RUNNING).exclude(upload="")
    for run in ended.order_by("pk")[:100]:
        _drop_upload(run)
