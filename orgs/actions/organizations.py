"""Organizations themselves."""

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from accounts.actors import Actor
from audit import actions as audit
from orgs import documents
from orgs.actions.revisions import store
from orgs.models import Membership, Organization, Role
from orgs.policy import require_admin
from roocloud.lib.ids import new_id
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import clean_label

if TYPE_CHECKING:
    from accounts.models import User


def create_organization(*, name: str, owner: "User", by: Actor, at: datetime) -> Organization:
    """A new organization with its first owner and the default settings.

    Raises InvalidInput (``name``).
    """
    name = clean_label(name, 100)
    if not name:
        raise InvalidInput("Give the organization a name", field="name")
    with transaction.atomic():
        organization = _insert(name, at=at)
        Membership.unscoped.create(
            organization=organization, user=owner, role=Role.OWNER, created_at=at, updated_at=at
        )
        store(
            organization, documents.dump(documents.DEFAULT), previous=None, by=None, note="", at=at
        )
        audit.record(
            action="organization.created",
            actor=by,
            organization_id=organization.pk,
            target_kind="organization",
            target_id=organization.pk,
            after={"name": name, "owner": owner.pk},
            at=at,
        )
    return organization


def find_organization(name: str) -> Organization | None:
    """By exact name, the oldest first; for the operator's commands."""
    return Organization.unscoped.filter(name=name).order_by("created_at", "pk").first()


def set_remote_control(*, organization: Organization, is_on: bool, by: Actor, at: datetime) -> None:
    """Whether editors that are signed in to the organization may be controlled by their people's
    browsers. Sockets end within five seconds (B4).

    Raises Forbidden for everybody but owners and admins.
    """
    require_admin(by, organization)
    with transaction.atomic():
        changed = (
            Organization.unscoped.filter(pk=organization.pk)
            .exclude(remote_control=is_on)
            .update(remote_control=is_on)
        )
        if changed:
            audit.record(
                action="remote_control.switched",
                actor=by,
                organization_id=organization.pk,
                target_kind="organization",
                target_id=organization.pk,
                before={"isOn": not is_on},
                after={"isOn": is_on},
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
