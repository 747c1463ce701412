"""Organizations themselves."""

from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from accounts.actors import Actor
from audit import actions as audit
from orgs import documents, logos
from orgs.actions.revisions import store
from orgs.models import Logo, Membership, Organization, Role
from orgs.policy import RemotePolicy, require_admin
from roocloud.lib.ids import new_id
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import clean_label

if TYPE_CHECKING:
    from accounts.models import User


def create_organization(*, name: str, owner: "User", by: Actor, at: datetime) -> Organization:
    """A new organization with its first owner and the default settings.

    Raises InvalidInput (``name``).
    """
    name = _checked_name(name)
    with transaction.atomic():
        organization = _insert(name, at=at)
        Membership.unscoped.create(
            organization=organization, user=owner, role=Role.OWNER, created_at=at, updated_at=at
        )
        store(
            organization, documents.dump(documents.DEFAULT), previous=None, by_id="", note="", at=at
        )
        after = {"name": name, "owner": owner.pk}
        _record("organization.created", organization, by=by, after=after, at=at)
    return organization


def rename(*, organization: Organization, name: str, by: Actor, at: datetime) -> None:
    """Call it something else. Its id and its slug stay, so no link and no editor loses it.

    Raises InvalidInput (``name``), Forbidden.
    """
    require_admin(by, organization)
    name = _checked_name(name)
    with transaction.atomic():
        before = Organization.unscoped.select_for_update().get(pk=organization.pk).name
        if before == name:
            return
        Organization.unscoped.filter(pk=organization.pk).update(name=name)
        _record(
            "organization.renamed",
            organization,
            by=by,
            before={"name": before},
            after={"name": name},
            at=at,
        )


def put_logo(*, organization: Organization, uploaded: bytes, by: Actor, at: datetime) -> None:
    """Show a picture beside the name, drawn anew from a file (see orgs.logos).

    Raises InvalidInput (``logo``), Forbidden.
    """
    require_admin(by, organization)
    picture = logos.drawn(uploaded)
    digest = sha256(picture).hexdigest()
    with transaction.atomic():
        Logo.unscoped.update_or_create(
            organization=organization, defaults={"picture": picture, "digest": digest}
        )
        _record("organization.logo_set", organization, by=by, after={"sha256": digest}, at=at)


def remove_logo(*, organization: Organization, by: Actor, at: datetime) -> None:
    """Raises Forbidden."""
    require_admin(by, organization)
    with transaction.atomic():
        removed, _ = Logo.unscoped.filter(organization=organization).delete()
        if removed:
            _record("organization.logo_removed", organization, by=by, at=at)


def find_organization(name: str) -> Organization | None:
    """By exact name, the oldest first; for the operator's commands."""
    return Organization.unscoped.filter(name=name).order_by("created_at", "pk").first()


def set_remote_policy(
    *, organization: Organization, policy: RemotePolicy, by: Actor, at: datetime
) -> None:
    """What is allowed with editors that are signed in to the organization. Sockets and watching
    that it does not allow any more end within five seconds (B4).

    Raises Forbidden for everybody but owners and admins.
    """
    require_admin(by, organization)
    wanted = {"remote_control": policy.is_on, "remote_watching": policy.admins_watch}
    with transaction.atomic():
        row = Organization.unscoped.select_for_update().get(pk=organization.pk)
        changed = [name for name, value in wanted.items() if getattr(row, name) != value]
        if not changed:
            return
        before = {name: getattr(row, name) for name in changed}
        Organization.unscoped.filter(pk=row.pk).update(**wanted)
        after = {name: wanted[name] for name in changed}
        _record("remote_control.switched", row, by=by, before=before, after=after, at=at)


def _checked_name(name: str) -> str:
    name = clean_label(name, 100)
    if not name:
        raise InvalidInput("Give the organization a name", field="name")
    return name


def _record(
    action: str,
    organization: Organization,
    *,
    by: Actor,
    at: datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    audit.record(
        action=action,
        actor=by,
        organization_id=organization.pk,
        target_kind="organization",
        target_id=organization.pk,
        before=before,
        after=after,
        at=at,
    )


def _insert(name: str, *, at: datetime) -> Organization:
    """The row, under the name's slug; under that with a random end where it is taken."""
    slug = slugify(name)[:40] or "team"
    try:
        with transaction.atomic():  # a savepoint: a slug that is taken costs this insert alone
            return Organization.unscoped.create(name=name, slug=slug, created_at=at)
    except IntegrityError:
        slug = f"{slug}-{new_id('x')[2:12].lower()}"
        return Organization.unscoped.create(name=name, slug=slug, created_at=at)
