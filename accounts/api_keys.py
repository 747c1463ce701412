"""API keys: static secrets of members for any OpenAI client. What they cost and which models there
are is decided in the rooms above."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from accounts import memberships
from accounts.actors import Actor
from accounts.bearer import rights_cache
from accounts.models import ApiKey, ClientSession
from audit import actions as audit
from roocloud.lib.ids import digest, new_secret
from roocloud.lib.refusals import Conflict, Forbidden, InvalidInput, NotFound
from roocloud.lib.text import clean_label

#: How long the old secret may go on working after a rotation.
MAX_OVERLAP = timedelta(days=7)
MAX_LIFETIME = timedelta(days=3 * 365)
#: Of one person in one context.
MAX_KEYS = 100
MAX_MODELS = 200
_MAX_MODEL_ID = 200
_MOST_LABELS = 1000


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is made with. lifetime: None for one without an end."""

    name: str
    note: str = ""
    model_ids: Sequence[str] = ()
    lifetime: timedelta | None = None


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What of a key may change. expires_at: None for one without an end."""

    name: str
    note: str
    model_ids: Sequence[str]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Issued:
    """secret: in the clear, known to nobody else from now on."""

    key: ApiKey
    secret: str


# --- Reads ------------------------------------------------------------------------------------


def mine(actor: Actor) -> QuerySet[ApiKey]:
    """The person's own keys in every context, newest first; revoked ones are gone."""
    keys = ApiKey.objects.visible_to(actor).filter(user_id=actor.user_id)
    return keys.unrevoked().order_by("-created_at", "pk")


def of_organization(actor: Actor) -> QuerySet[ApiKey]:
    """Everybody's keys in the organization that the actor administers, with their owners."""
    keys = ApiKey.objects.visible_to(actor).filter(organization_id=actor.organization_id)
    return keys.unrevoked().select_related("user").order_by("-created_at", "pk")


def find(keys: QuerySet[ApiKey], key_id: str) -> ApiKey:
    """The key of that id among ``mine`` or ``of_organization``. Raises NotFound."""
    key = keys.filter(pk=key_id).first()
    if key is None:
        raise NotFound("There is no such API key")
    return key


def names(actor: Actor) -> dict[str, str]:
    """By id, of the keys in the actor's context that they may see: for admins everybody's."""
    keys = ApiKey.objects.visible_to(actor).filter(organization_id=actor.organization_id or "")
    return dict(keys.unrevoked().values_list("pk", "name"))


def labels(actor: Actor, *, is_team: bool) -> dict[str, tuple[str, str]]:
    """By id (its name, its owner's address) of every key that there was in the actor's context,
    revoked ones too, newest first. is_team: everybody's, for admins."""
    keys = ApiKey.objects.visible_to(actor).filter(organization_id=actor.organization_id or "")
    if not is_team:
        keys = keys.filter(user_id=actor.user_id)
    newest = keys.select_related("user").order_by("-created_at", "pk")[:_MOST_LABELS]
    return {
        key.pk: (f"{key}{' (revoked)' if key.revoked_at else ''}", key.user.email) for key in newest
    }


def is_own(actor: Actor, key_id: str) -> bool:
    """Whether the actor made this key in the context that they are in."""
    return mine(actor).filter(pk=key_id, organization_id=actor.organization_id or "").exists()


def name_of(key_id: str) -> str:
    """Also of a revoked one; the id of one that is not there any more."""
    key = ApiKey.unscoped.filter(pk=key_id).first()
    return str(key) if key else key_id


def owner_id(key_id: str) -> str | None:
    return ApiKey.unscoped.filter(pk=key_id).values_list("user_id", flat=True).first()


# --- Writes -----------------------------------------------------------------------------------


def make_key(*, by: Actor, new: NewKey, at: datetime) -> Issued:
    """A key for the actor's context. Whether they may spend there is asked above (proxy.keys).

    Raises InvalidInput (``name``, ``models``, ``lifetime``), Conflict.
    """
    name, model_ids = _name(new.name), _model_ids(new.model_ids)
    if new.lifetime is not None and not timedelta(minutes=1) <= new.lifetime <= MAX_LIFETIME:
        raise InvalidInput("must be between one minute and three years", field="lifetime")
    secret = new_secret(settings.ROOCLOUD_API_KEY_PREFIX)
    with transaction.atomic():
        if mine(by).filter(organization_id=by.organization_id or "").count() >= MAX_KEYS:
            raise Conflict(f"There are {MAX_KEYS} keys already; revoke one that is not used")
        key = ApiKey.unscoped.create(
            user_id=by.user_id,
            organization_id=by.organization_id or "",
            name=name,
            note=clean_label(new.note, 300),
            model_ids=model_ids,
            secret_hash=digest(secret),
            last_four=secret[-4:],
            created_at=at,
            expires_at=None if new.lifetime is None else at + new.lifetime,
        )
        after = {"name": name, "models": model_ids, "expires_at": _text(key.expires_at)}
        _record("made", key, by=by, at=at, after=after)
    return Issued(key, secret)


def _name(given: str) -> str:
    name = clean_label(given, 100)
    if not name:
        raise InvalidInput("Give the key a name, to know it by later", field="name")
    return name


def _model_ids(given: Sequence[str]) -> list[str]:
    model_ids = sorted(set(given))
    if len(model_ids) > MAX_MODELS or any(len(one) > _MAX_MODEL_ID for one in model_ids):
        raise InvalidInput(f"must be at most {MAX_MODELS} ids of models", field="models")
    return model_ids


def change_key(*, key: ApiKey, by: Actor, facts: KeyFacts, at: datetime) -> None:
    """Change what the owner's key is called, opens and when it ends; its secret stays. It counts
    within five seconds (B4). What is the same is not written. Whether they may use the models is
    asked above (proxy.keys).

    Raises InvalidInput (``name``, ``models``, ``expires_at``), Forbidden, Conflict.
    """
    if key.user_id != by.user_id:
        raise Forbidden("Only the owner of an API key changes it")
    given: dict[str, Any] = {
        "name": _name(facts.name),
        "note": clean_label(facts.note, 300),
        "model_ids": _model_ids(facts.model_ids),
        "expires_at": facts.expires_at,
    }
    changed = {name: value for name, value in given.items() if value != getattr(key, name)}
    ends = changed.get("expires_at")
    if ends is not None and not at < ends <= at + MAX_LIFETIME:
        raise InvalidInput("must be within three years from now", field="expires_at")
    if not changed:
        return
    before = {name: getattr(key, name) for name in changed}
    with transaction.atomic():
        found = ApiKey.unscoped.unrevoked().filter(pk=key.pk)
        if key.state(at) == ApiKey.State.EXPIRED or not found.update(**changed):
            raise Conflict("This key has ended; make a new one")
        _record("changed", key, by=by, at=at, before=_said(before), after=_said(changed))
    rights_cache.clear()
    key.refresh_from_db()


def rotate_key(*, key: ApiKey, by: Actor, overlap: timedelta, at: datetime) -> Issued:
    """A new secret for the owner. The one before it works for ``overlap`` more, and what was before
    that stops at once.

    Raises InvalidInput (``overlap``), Forbidden, Conflict.
    """
    if key.user_id != by.user_id:
        raise Forbidden("Only the owner of an API key is given its secret")
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise InvalidInput(f"must be at most {MAX_OVERLAP.days} days", field="overlap")
    secret = new_secret(settings.ROOCLOUD_API_KEY_PREFIX)
    change: dict[str, Any] = {
        "secret_hash": digest(secret),
        "last_four": secret[-4:],
        "previous_hash": key.secret_hash if overlap else "",
        "previous_until": at + overlap if overlap else None,
    }
    with transaction.atomic():
        # The secret that was read is part of the condition: of two rotations at once one wins, and
        # nobody is shown a secret that the other has replaced.
        found = ApiKey.unscoped.unrevoked().filter(pk=key.pk, secret_hash=key.secret_hash)
        if key.state(at) == ApiKey.State.EXPIRED or not found.update(**change):
            raise Conflict("This key was changed meanwhile or has ended; look at it again")
        after = {"last_four": secret[-4:], "old_until": _text(change["previous_until"])}
        _record("rotated", key, by=by, at=at, before={"last_four": key.last_four}, after=after)
    rights_cache.clear()
    key.refresh_from_db()
    return Issued(key, secret)


def pause_key(*, key: ApiKey, by: Actor, at: datetime) -> None:
    """Stop a key within five seconds (B4), until it is resumed. Repeating it changes nothing."""
    with transaction.atomic():
        running = ApiKey.unscoped.unrevoked().filter(pk=key.pk, paused_at=None)
        if running.update(paused_at=at, paused_by_id=by.user_id):
            _record("paused", key, by=by, at=at)
    rights_cache.clear()


def pause_all(*, user_id: str, by: Actor | None, at: datetime) -> None:
    """Pause every key of a person, for themselves to resume; by: None for the server."""
    with transaction.atomic():
        for key in ApiKey.unscoped.working(at).filter(user_id=user_id).order_by("pk"):
            ApiKey.unscoped.filter(pk=key.pk).update(paused_at=at, paused_by_id=user_id)
            _record("paused", key, by=by, at=at)
    rights_cache.clear()


def resume_key(*, key: ApiKey, by: Actor, at: datetime) -> None:
    """Let a paused key work again. What somebody else paused is for admins to resume.

    Raises Forbidden.
    """
    paused = ApiKey.unscoped.unrevoked().filter(pk=key.pk, paused_at__isnull=False)
    theirs = paused if _administers(by, key) else paused.filter(paused_by_id=key.user_id)
    with transaction.atomic():
        if theirs.update(paused_at=None, paused_by_id=""):
            _record("resumed", key, by=by, at=at)
        elif paused.exists():
            raise Forbidden("An admin of the organization paused this key and may resume it")


def revoke_key(*, key: ApiKey, by: Actor, at: datetime) -> None:
    """End a key for good, within five seconds (B4). Ending what has ended changes nothing."""
    with transaction.atomic():
        if not ApiKey.unscoped.unrevoked().filter(pk=key.pk).update(revoked_at=at):
            return
        _record("revoked", key, by=by, at=at)
    rights_cache.clear()


def revoke_all(*, organization_id: str, at: datetime) -> None:
    """End every key and job token of an organization that is deleted."""
    with transaction.atomic():
        for key in ApiKey.unscoped.unrevoked().filter(organization_id=organization_id):
            ApiKey.unscoped.filter(pk=key.pk).update(revoked_at=at)
            _record("revoked", key, by=None, at=at)
        ClientSession.unscoped.filter(
            organization_id=organization_id, kind=ClientSession.Kind.JOB, ended_at=None
        ).update(ended_at=at)
    rights_cache.clear()


def _administers(by: Actor, key: ApiKey) -> bool:
    """An admin of the key's organization, whatever context they are in."""
    if not key.organization_id:
        return False
    role = memberships.role_of(user_id=by.user_id, organization_id=key.organization_id)
    return memberships.administers(role)


def _said(facts: dict[str, Any]) -> dict[str, Any]:
    """For the trail."""
    return {
        "models" if name == "model_ids" else name: _text(value) if name == "expires_at" else value
        for name, value in facts.items()
    }


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _record(
    deed: str,
    key: ApiKey,
    *,
    by: Actor | None,
    at: datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    audit.record(
        action=f"api_key.{deed}",
        actor=by,
        organization_id=key.organization_id,  # also if it is empty: a personal key is nobody else's
        target_kind="api_key",
        target_id=key.pk,
        before=before,
        after=after,
        at=at,
    )
