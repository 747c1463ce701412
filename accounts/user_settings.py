"""A person's settings as their editors know them (protocol/settings.md §7, §8)."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from django.db import transaction
from msgspec import UNSET, Meta, Struct, UnsetType

from accounts.actors import Actor
from accounts.models import User, UserSettings, UserSettingsRevision
from accounts.versions import next_version
from audit import actions as audit
from roocloud.lib import wire
from roocloud.lib.refusals import Conflict, InvalidInput

DEFAULT: dict[str, Any] = {"taskSyncEnabled": True}


class Changes(Struct, rename="camel", omit_defaults=True):
    """The keys that are known; others are ignored, so that newer clients keep working."""

    task_sync_enabled: bool | UnsetType = UNSET
    llm_enhanced_features_enabled: bool | UnsetType = UNSET
    extension_bridge_enabled: bool | UnsetType = UNSET


class Body(Struct):
    """What editors send; ``version`` is the one they have cached."""

    settings: Changes
    version: Annotated[float, Meta(ge=0, le=2**53)] | UnsetType = UNSET


class StaleVersion(Conflict):
    """current: the UserSettingsData that the caller did not know of."""

    code = "version_conflict"

    def __init__(self, current: dict[str, Any]) -> None:
        super().__init__("These settings were changed since they were read", field="version")
        self.current = current


def document(row: UserSettings) -> dict[str, Any]:
    """UserSettingsData as clients parse it."""
    return {
        "version": row.version,
        "features": {"roomoteControlEnabled": True},
        "settings": row.document,
    }


def current(*, user_id: str, at: datetime) -> UserSettings:
    """The person's settings; the first time they are asked for, the default under a new version."""
    row = UserSettings.unscoped.filter(pk=user_id).first()
    return row or _create(user_id, at=at)


def look(*, user_id: str) -> dict[str, Any]:
    """UserSettingsData of a person without making it: until their first read, the default under no
    version."""
    row = UserSettings.unscoped.filter(pk=user_id).first()
    return document(row or UserSettings(user_id=user_id, version=0, document=DEFAULT))


def _create(user_id: str, *, at: datetime) -> UserSettings:
    with transaction.atomic():
        # The person's row is the lock: of two first reads, one makes the settings.
        User.objects.select_for_update().get(pk=user_id)
        row = UserSettings.unscoped.filter(pk=user_id).first()
        if row is None:
            row = UserSettings.unscoped.create(
                user_id=user_id, version=next_version(), document=DEFAULT, updated_at=at
            )
            _keep(row, previous=None, at=at)
        return row


def _keep(row: UserSettings, *, previous: int | None, at: datetime) -> None:
    UserSettingsRevision.unscoped.create(
        user_id=row.pk,
        version=row.version,
        previous_version=previous,
        document=row.document,
        made_at=at,
    )


def read_changes(body: Any) -> tuple[dict[str, Any], int | None]:
    """The changed keys and the version they were based on, from either form: ``{"settings": …,
    "version": …}`` as clients send it, or the bare keys as the guide shows.

    Raises InvalidInput naming the field.
    """
    if not isinstance(body, dict):
        raise InvalidInput("The body must be a JSON object")
    if "settings" not in body:
        version = body.get("version", UNSET)
        bare = {key: value for key, value in body.items() if key != "version"}
        body = {"settings": bare} | ({} if version is UNSET else {"version": version})
    wrapped = wire.convert(body, Body)
    based_on = None if wrapped.version is UNSET else wrapped.version
    if based_on is not None and based_on != int(based_on):
        raise InvalidInput("must be a whole number", field="version")
    return msgspec.to_builtins(wrapped.settings), None if based_on is None else int(based_on)


def update(
    *, by: Actor, changes: dict[str, Any], based_on: int | None, at: datetime
) -> UserSettings:
    """Merge the changed keys and raise the version, also for a change of nothing: the client adopts
    the answer only if its version is greater.

    changes, based_on: as read_changes gives them. Raises StaleVersion.
    """
    current(user_id=by.user_id, at=at)
    with transaction.atomic():
        row = UserSettings.unscoped.select_for_update().get(pk=by.user_id)
        if based_on is not None and based_on != row.version:
            raise StaleVersion(document(row))
        before, previous = row.document, row.version
        row.document = {**before, **changes}
        row.version = next_version()
        row.updated_at = at
        row.save(update_fields=["document", "version", "updated_at"])
        _keep(row, previous=previous, at=at)
        audit.record(
            action="user_settings.saved",
            actor=by,
            target_kind="user",
            target_id=by.user_id,
            before=before,
            after=row.document,
            at=at,
        )
    return row
