"""Which editors are there, for all processes: rows that their sockets' processes keep up to date.

All functions take many at once: after a restart every editor comes back in the same second.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from django.db import transaction

from bridge import watching
from bridge.models import INSTANCE_LIFETIME, Instance, Publication
from bridge.schemas import ExtensionInstance
from roocloud.lib.bulk import insert_rows
from roocloud.lib.text import storable

#: Instances that a browser is told of when it comes.
_MOST_TOLD = 200
_DESCRIBED = (
    "organization_id", "host", "workspace_path", "task_id", "task_status", "snapshot", "node",
    "sid", "last_seen_at", "ended_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sighting:
    """An instance as its socket describes it. node, sid: that socket."""

    owner_id: str
    organization_id: str | None
    instance: ExtensionInstance
    node: str
    sid: str
    at: datetime

    @property
    def key(self) -> tuple[str, str]:
        return self.owner_id, self.instance.instance_id


def encoded(instance: ExtensionInstance) -> str:
    """As browsers get it and rows keep it: JSON without the images that every event repeats."""
    return msgspec.json.encode(instance).decode()


def put(sightings: Sequence[Sighting]) -> list[str]:
    """Store what each describes; the row's id for each. The newest socket of an instance is the one
    that gets its commands."""
    found = {sighting.key: _row(sighting) for sighting in sightings}
    rows = dict(sorted(found.items()))  # in the order of InstanceQuerySet.locked
    with transaction.atomic():
        insert_rows(
            Instance, list(rows.values()), unique=("owner", "instance_id"), update=_DESCRIBED
        )
        ids = _ids(rows)
    return [ids[sighting.key] for sighting in sightings]


def _row(sighting: Sighting) -> dict[str, object]:
    instance, at = sighting.instance, sighting.at
    return {
        "pk": Instance._meta.pk.get_default(),
        "owner": sighting.owner_id,
        "instance_id": instance.instance_id,
        "organization_id": sighting.organization_id or "",
        "host": storable(instance.app_properties.hostname or ""),
        "workspace_path": storable(instance.workspace_path),
        "task_id": instance.task.task_id,
        "task_status": storable(instance.task.task_status),
        "snapshot": encoded(instance),
        "node": sighting.node,
        "sid": sighting.sid,
        "first_seen_at": at,
        "last_seen_at": at,
        "ended_at": None,
    }


def _ids(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    rows = Instance.unscoped.filter(
        owner_id__in={owner_id for owner_id, _ in keys},
        instance_id__in={instance_id for _, instance_id in keys},
    ).values_list("owner_id", "instance_id", "pk")
    return {(owner_id, instance_id): pk for owner_id, instance_id, pk in rows}


def publish(joins: Sequence[tuple[str, str]], *, at: datetime) -> None:
    """joins: (id of an instance's row, task id) of what instances joined."""
    keys = sorted(set(joins))
    rows = [{"instance": pk, "task_id": task_id, "joined_at": at} for pk, task_id in keys]
    insert_rows(Publication, rows, unique=("instance", "task_id"), update=("joined_at",))


def withdraw(pk: str, task_id: str) -> None:
    """An instance left a task."""
    Publication.unscoped.filter(instance_id=pk, task_id=task_id).delete()


def lose(sockets: Sequence[tuple[str, str]]) -> None:
    """sockets: (id of an instance's row, sid) of connections that are gone. The instances may come
    back within a minute; what came back already by another socket stays."""
    pks, sids = [pk for pk, _ in sockets], [sid for _, sid in sockets]
    with transaction.atomic():
        lost = Instance.unscoped.filter(pk__in=pks, sid__in=sids).locked()
        held = list(lost.values_list("pk", flat=True))
        Instance.unscoped.filter(pk__in=held).update(node="", sid="")


def end(pk: str, sid: str, *, at: datetime) -> bool:
    """An editor signed off by that socket. False if the instance has a newer one."""
    with transaction.atomic():
        ended = Instance.unscoped.filter(pk=pk, sid=sid).update(node="", sid="", ended_at=at)
        if ended:
            Publication.unscoped.filter(instance_id=pk).delete()
    return bool(ended)


def expire(*, at: datetime) -> list[Instance]:
    """End the instances that were silent for a minute; those that this call ended."""
    due = Instance.unscoped.filter(ended_at=None, last_seen_at__lte=at - INSTANCE_LIFETIME)
    with transaction.atomic():
        silent = list(due.locked()[:1000])
        ended = [row.pk for row in silent]
        Instance.unscoped.filter(pk__in=ended).update(ended_at=at)
        Publication.unscoped.filter(instance_id__in=ended).delete()
    return silent


@dataclass(frozen=True, slots=True)
class Present:
    """A live instance as a browser is told of it. snapshot: JSON. is_lost: its socket broke, and it
    has not come back yet. people: names of those who watch it."""

    instance_id: str
    snapshot: str
    is_lost: bool
    people: list[str]


def live_of(owner_ids: Collection[str], *, at: datetime) -> Mapping[str, list[Present]]:
    """Each owner's live instances, latest first."""
    people = watching.people(owner_ids, at=at)
    rows = (
        Instance.unscoped.live(at)
        .filter(owner_id__in=set(owner_ids))
        .order_by("-last_seen_at", "pk")
        .values_list("owner_id", "instance_id", "snapshot", "sid")
    )
    found: defaultdict[str, list[Present]] = defaultdict(list)
    for owner_id, instance_id, snapshot, sid in rows:
        if len(found[owner_id]) < _MOST_TOLD:
            names = people.get((owner_id, instance_id), [])
            found[owner_id].append(Present(instance_id, snapshot, not sid, names))
    return found


def forget_ended(*, before: datetime) -> int:
    """Delete the instances that ended before; how many there were."""
    deleted, _ = Instance.unscoped.filter(ended_at__lt=before).delete()
    return deleted
