"""Owners and admins who watch a member's editor, where its organization allows that (R1).

They look, and do nothing: a command goes to its sender's own editors alone. Who watches is rows
that live for seconds and are renewed for as long as right and socket stand. So an editor's person
sees the same watchers from every process, and none that is gone.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from accounts import memberships
from accounts.actors import Actor, TokenKind
from accounts.memberships import Claim
from audit import actions as audit
from bridge.models import Instance, InstanceQuerySet, Watcher
from orgs import queries as orgs
from roocloud.lib.bulk import insert_rows
from tasks_sharing import policy as tasks

#: How long somebody who was not renewed counts as watching.
WATCHER_LIFETIME = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Watch:
    """viewer_id watches the instance of a row (pk) of owner_id, in an organization. signed_on: the
    single sign-ons that the viewer's sign-in came by."""

    viewer_id: str
    organization_id: str
    owner_id: str
    instance_id: str
    pk: str
    signed_on: frozenset[str] = frozenset()

    @property
    def claim(self) -> Claim:
        return self.viewer_id, self.organization_id, self.signed_on

    @property
    def room(self) -> str:
        return room(self.organization_id, self.owner_id, self.instance_id)


def room(organization_id: str, owner_id: str, instance_id: str) -> str:
    """Where those are who watch an instance. With the organization in it, because the same window
    may sign in to another one, whose policy is another."""
    return f"watch:{organization_id}:{owner_id}:{instance_id}"


def allowed(claims: Iterable[Claim]) -> set[Claim]:
    """Those of the claims whose person may watch the organization's members' editors now: owners
    and admins, where its policy says so, and lets them read its members' tasks; by its single
    sign-on, where it asks them for it. Four queries where no organization asks for any."""
    asked = set(claims)
    asked -= memberships.unproven(asked)
    roles = memberships.roles((user_id, organization_id) for user_id, organization_id, _ in asked)
    ids = {organization_id for _, organization_id in roles}
    watched = {pk for pk, policy in orgs.remote_policies(ids).items() if policy.admins_watch}
    clouds = orgs.clouds_of(watched)
    pairs = {
        (user_id, organization_id)
        for (user_id, organization_id), role in roles.items()
        if organization_id in clouds
        and memberships.administers(role)
        and tasks.opens_others(tasks.task_visibility(clouds[organization_id]), role)
    }
    return {claim for claim in asked if claim[:2] in pairs}


def instances(viewer: Claim) -> InstanceQuerySet:
    """What a viewer may watch in an organization now: its members' editors, not their own."""
    viewer_id, organization_id, _ = viewer
    if not allowed([viewer]):
        return Instance.unscoped.none()
    rows = Instance.unscoped.of_organization(organization_id).exclude(owner_id=viewer_id)
    return rows.select_related("owner")


def begin(
    *,
    viewer_id: str,
    organization_id: str,
    owner_id: str,
    instance_id: str,
    signed_on: frozenset[str],
    at: datetime,
) -> tuple[Watch, Instance] | None:
    """Let somebody watch an instance, with the trace of it, for as long as a watcher lives; None
    for what they may not, and for what is not there."""
    found = instances((viewer_id, organization_id, signed_on))
    row = found.filter(owner_id=owner_id, instance_id=instance_id).first()
    if row is None:
        return None
    watch = Watch(viewer_id, organization_id, owner_id, instance_id, row.pk, signed_on)
    mine = Watcher.unscoped.filter(instance=row.pk, viewer=viewer_id)
    with transaction.atomic():
        # One that is over but still there would hide the new look, and leave no trace of it.
        mine.filter(last_seen_at__lte=at - WATCHER_LIFETIME).delete()
        goes_on = mine.filter(last_seen_at__lt=at).update(last_seen_at=at)
        rows = [] if goes_on else [_row(watch, at)]
        if insert_rows(Watcher, rows, unique=("instance", "viewer")):
            audit.record(
                action="editor.watched",
                actor=Actor(viewer_id, organization_id, None, TokenKind.WEB),
                target_kind="instance",
                target_id=instance_id,
                after={"owner": owner_id},
                at=at,
            )
    return watch, row


def _row(watch: Watch, at: datetime) -> dict[str, object]:
    seen = {"began_at": at, "last_seen_at": at}
    return {"instance": watch.pk, "viewer": watch.viewer_id, **seen}


def renew(watches: Sequence[Watch], *, at: datetime) -> set[Watch]:
    """Those of the watches that are still allowed (B4); the others end. A few queries."""
    claims = allowed(one.claim for one in watches)
    rows = Instance.unscoped.filter(pk__in={one.pk for one in watches})
    with transaction.atomic():
        places = set(rows.values_list("pk", "organization_id"))
        kept = {
            one
            for one in watches
            if one.claim in claims and (one.pk, one.organization_id) in places
        }
        seen = {(one.pk, one.viewer_id): _row(one, at) for one in kept}
        update = ("last_seen_at",)
        ordered = [seen[key] for key in sorted(seen)]  # as in all processes, or they would wait
        insert_rows(Watcher, ordered, unique=("instance", "viewer"), update=update)
        # Not of who watches by another sign-in too.
        _forget([one for one in watches if (one.pk, one.viewer_id) not in seen])
    return kept


def _forget(ended: Sequence[Watch]) -> None:
    if not ended:
        return
    over = {(one.pk, one.viewer_id) for one in ended}
    rows = Watcher.unscoped.filter(instance_id__in={pk for pk, _ in over})
    found = rows.values_list("pk", "instance_id", "viewer_id")
    Watcher.unscoped.filter(pk__in=[pk for pk, *key in found if tuple(key) in over]).delete()


def expire(*, at: datetime) -> set[tuple[str, str]]:
    """End those who were not renewed; (owner, instance id) of what they watched."""
    due = Watcher.unscoped.filter(last_seen_at__lte=at - WATCHER_LIFETIME)
    places = set(due.values_list("instance__owner_id", "instance__instance_id"))
    if places:
        due.delete()
    return places


def people(owner_ids: Iterable[str], *, at: datetime) -> Mapping[tuple[str, str], list[str]]:
    """Names of those who watch, by (owner, instance id)."""
    rows = (
        Watcher.unscoped.filter(
            instance__owner_id__in=set(owner_ids), last_seen_at__gt=at - WATCHER_LIFETIME
        )
        .select_related("instance", "viewer")
        .order_by("began_at", "pk")
    )
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        found[row.instance.owner_id, row.instance.instance_id].append(row.viewer.name)
    return found
