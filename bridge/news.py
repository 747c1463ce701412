"""What an editor reports that its person is told of, wherever they are. Pure.

An editor mentions a question two seconds after it raised it, if nobody and no rule answered it
meanwhile: what is mentioned needs somebody.
"""

from django.urls import reverse

from bridge.hub import task_room
from bridge.schemas import ExtensionInstance
from notifications.actions import News
from notifications.kinds import Kind
from roocloud.lib.text import clean_label, storable

#: By the ``ask`` of its question. What asks whether to take a task up again is told to nobody.
_KINDS = {
    "command": Kind.APPROVAL, "tool": Kind.APPROVAL, "browser_action_launch": Kind.APPROVAL,
    "use_mcp_server": Kind.APPROVAL, "auto_approval_max_req_reached": Kind.APPROVAL,
    "followup": Kind.QUESTION,
    "completion_result": Kind.FINISHED,
    "api_req_failed": Kind.FAILED, "mistake_limit_reached": Kind.FAILED,
}  # fmt: skip
_TITLES = {
    Kind.APPROVAL: "An editor needs your approval",
    Kind.QUESTION: "An editor has a question",
    Kind.FINISHED: "A task is finished",
    Kind.FAILED: "A task has failed",
}


def of(user_id: str, instance: ExtensionInstance) -> News | None:
    """What the instance's question is to its owner; None for one that is nothing to be told of."""
    ask = instance.task_ask or instance.task.task_ask
    kind = _KINDS.get(ask.ask or "") if ask is not None else None
    if ask is None or kind is None:
        return None
    task_id = instance.task.task_id
    return News(
        user_id=user_id,
        kind=kind,
        key=f"ask:{task_id}:{int(ask.ts)}",
        topic=f"task:{task_id}",
        title=_TITLES[kind],
        text=_place(instance),
        path=reverse("roomote-editor", args=[instance.instance_id]),
    )


def room_of(news: News) -> str:
    """In which its person is while they look at the task."""
    return task_room(news.user_id, news.topic.removeprefix("task:"))


def _place(instance: ExtensionInstance) -> str:
    """Repository or the last part of the folder, and the computer. Not the task's title: that is
    the first line of what somebody wrote, and may be code."""
    git = instance.git_properties
    folder = instance.workspace_path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = (git.repository_name if git else None) or folder
    parts = (storable(part) for part in (name, instance.app_properties.hostname) if part)
    return clean_label(" · ".join(parts), 140)
