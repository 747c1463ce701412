"""Who may see a task: pure functions of the present state (J2)."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import UNSET

from orgs.policy import ADMIN_ROLES
from tasks_sharing.models import Share, Task

if TYPE_CHECKING:
    from orgs.documents import CloudSettings


def task_visibility(cloud: "CloudSettings") -> str:
    """``workspaceTaskVisibility``, or what the older boolean means (protocol/settings.md §3)."""
    if cloud.workspace_task_visibility is not UNSET:
        return cloud.workspace_task_visibility
    return "all" if cloud.allow_members_view_all_tasks is True else "admins-and-creator"


def may_open(
    task: Task, *, viewer_id: str, viewer_role: str | None, cloud: "CloudSettings"
) -> bool:
    """May the viewer read the conversation?

    viewer_role: what they hold in the task's organization now; None for strangers and for personal
    tasks. cloud: the policy of the task's context now.
    """
    visibility = task_visibility(cloud)
    if task.organization_id is not None and visibility == "full-lockdown":
        return False
    if task.owner_id == viewer_id:
        return task.organization_id is None or viewer_role is not None
    return opens_others(visibility, viewer_role)


def opens_others(visibility: str, role: str | None) -> bool:
    """May somebody with ``role`` read colleagues' conversations?"""
    if role is None or visibility in ("creator", "full-lockdown"):
        return False
    return visibility == "all" or role in ADMIN_ROLES


def sees_others(visibility: str, role: str | None) -> bool:
    """May somebody with ``role`` see in a list that colleagues' tasks exist?"""
    if role in ADMIN_ROLES:
        return visibility in ("all", "list-only", "admins-and-creator")
    return role is not None and visibility in ("all", "list-only")


def refusal_to_share(visibility: str, cloud: "CloudSettings") -> str | None:
    """Why the policy forbids a share, in words that the client knows (trap 25); None if it does
    not."""
    if cloud.enable_task_sharing is not True or task_visibility(cloud) == "full-lockdown":
        return "Task sharing is not enabled for this organization"
    if visibility == Share.Visibility.PUBLIC and cloud.allow_public_task_sharing is False:
        return "Public sharing is not enabled for this organization"
    return None


@dataclass(frozen=True, slots=True)
class Maker:
    """Whose link it is. role: what they hold in the task's organization now."""

    is_active: bool
    role: str | None


def may_follow(
    share: Share,
    *,
    maker: Maker,
    viewer_role: str | None,
    cloud: "CloudSettings",
    at: datetime,
) -> bool:
    """May somebody who knows the token see the page?

    A link grants no more than its maker has now (A4). viewer_role: in the task's organization.
    """
    if share.revoked_at is not None or (share.expires_at is not None and share.expires_at <= at):
        return False
    if not maker.is_active or (share.task.organization_id is not None and maker.role is None):
        return False
    if refusal_to_share(share.visibility, cloud) is not None:
        return False
    return share.visibility == Share.Visibility.PUBLIC or viewer_role is not None
