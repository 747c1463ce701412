"""Jobs of this room."""

import time

from celery import shared_task
from django.utils import timezone

from tasks_sharing import actions, guard, images, search
from tasks_sharing.imports import actions as imports
from tasks_sharing.models import Task

#: After so long an import lets other jobs have their turn.
_TURN_S = 20


@shared_task(acks_late=True, ignore_result=True)
def run_import(*, import_id: str, **_later: object) -> None:
    """Import tasks of an archive for a while; safe to run any number of times."""
    ends_at = time.monotonic() + _TURN_S
    if imports.run_import(import_id=import_id, is_time_up=lambda: time.monotonic() > ends_at):
        run_import.delay(import_id=import_id)


@shared_task(acks_late=True, ignore_result=True)
def scan_task(*, task_id: str, **_later: object) -> None:
    """Look for secrets in a task that becomes public, so that its first reader need not wait."""
    task = Task.unscoped.filter(pk=task_id).first()
    if task is not None:
        guard.scan(task, at=timezone.now())


@shared_task(acks_late=True, ignore_result=True)
def index_task(*, task_id: str, **_later: object) -> None:
    """Write down the words of a task, so that it is found by them."""
    search.index(task_pk=task_id)


@shared_task(acks_late=True, ignore_result=True)
def index_due(**_later: object) -> None:
    """Every minute: what was imported, and what a broker forgot. Of a database from before the
    search, everything, turn by turn."""
    ends_at = time.monotonic() + _TURN_S
    search.index_due(is_time_up=lambda: time.monotonic() > ends_at)


@shared_task(acks_late=True, ignore_result=True)
def resume_imports(**_later: object) -> None:
    """Every minute: queue again what a broker forgot or a fault interrupted."""
    for import_id in imports.due_imports(at=timezone.now()):
        run_import.delay(import_id=import_id)
    imports.drop_uploads()


@shared_task(acks_late=True, ignore_result=True)
def forget_unused_images(**_later: object) -> None:
    """Every night."""
    images.forget_unused()


@shared_task(acks_late=True, ignore_result=True)
def forget_share_views(**_later: object) -> None:
    """Every night."""
    actions.forget_views(at=timezone.now())
