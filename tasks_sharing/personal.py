"""What of this room is about a person (L3)."""

from roocloud.lib import personal
from roocloud.lib.personal import Cursor, Holding
from tasks_sharing import export
from tasks_sharing.models import Import, Mask, Share, ShareView, Task, TaskText


def declare() -> None:
    personal.declare(Holding(Task, "owner", _tasks, _delete_tasks))
    personal.elsewhere(TaskText, "owner_id", reason="the words of a task, deleted with it")
    personal.owned(Share, "task__owner", "task_id", "visibility", "created_at", "revoked_at")
    personal.elsewhere(Share, "made_by_id", reason="the link is of the task's owner")
    personal.kept(
        ShareView, "viewer_id", "opened_at", "form", reason="the link's log, soon forgotten"
    )
    personal.owned(Import, "owner", "state", "total", "started_at", "ended_at")
    personal.elsewhere(Mask, "made_by_id", reason="the mask is of the task's owner")


def _tasks(user_id: str, cursor: Cursor) -> tuple[list[str], Cursor]:
    """A task's facts and all its messages, the images in them."""
    tasks = Task.unscoped.filter(owner_id=user_id).select_related("owner").order_by("pk")
    task = (tasks.filter(pk__gt=cursor) if cursor else tasks).first()
    if task is None:
        return [], None
    messages: list[str] = []
    while found := export.lines(task, len(messages)):
        messages += found
    whole = f"{export.opening(task)}{', '.join(messages)}{export.CLOSING.rstrip()}"
    return [whole], task.pk


def _delete_tasks(user_id: str) -> None:
    for pk in Task.unscoped.filter(owner_id=user_id).values_list("pk", flat=True):
        Task.unscoped.filter(pk=pk).delete()  # each in a transaction of its own
