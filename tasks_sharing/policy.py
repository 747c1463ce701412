"""Who may see a task: pure functions of the present state (J2)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
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


class Barrier(Enum):
    """Why a link shows nothing to anybody."""

    REVOKED = "revoked"
    EXPIRED = "expired"
    GONE = "gone"  # its maker closed their account, or left the organization
    POLICY = "policy"


def end_of(
    lifetime: timedelta | None, cloud: "CloudSettings", *, counted_from: datetime
) -> datetime | None:
    """When a link of that lifetime ends: never after what the policy lets it. None: never."""
    spans = [lifetime] if lifetime is not None else []
    if cloud.task_share_expiration_days is not UNSET:
        spans.append(timedelta(days=cloud.task_share_expiration_days))
    return counted_from + min(spans) if spans else None


def ends_at(share: Share, cloud: "CloudSettings") -> datetime | None:
    """When the link ends as things stand: as it was told when it was made, or earlier if the policy
    became stricter since. None: never."""
    ends = [] if share.expires_at is None else [share.expires_at]
    counted_from = share.renewed_at or share.created_at
    if (allowed := end_of(None, cloud, counted_from=counted_from)) is not None:
        ends.append(allowed)
    return min(ends, default=None)


def barrier(share: Share, *, maker: Maker, cloud: "CloudSettings", at: datetime) -> Barrier | None:
    """Why nobody may follow the link now; None if those may whom it is for.

    A link grants no more than its maker has now (A4), and no more than the policy allows now,
    whatever it was when the link was made (J2).
    """
    if share.revoked_at is not None:
        return Barrier.REVOKED
    if (end := ends_at(share, cloud)) is not None and end <= at:
        return Barrier.EXPIRED
    if not maker.is_active or (share.task.organization_id is not None and maker.role is None):
        return Barrier.GONE
    if refusal_to_share(share.visibility, cloud) is not None:
        return Barrier.POLICY
    return None


def may_follow(
    share: Share,
    *,
    maker: Maker,
    viewer_role: str | None,
    cloud: "CloudSettings",
    at: datetime,
) -> bool:
    """May somebody who knows the token see the page? viewer_role: in the task's organization."""
    if barrier(share, maker=maker, cloud=cloud, at=at) is not None:
        return False
    return share.visibility == Share.Visibility.PUBLIC or viewer_role is not None
