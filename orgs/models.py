"""Organizations, who belongs to them, and every version of their settings."""

from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from roocloud.lib import crypto, sealed
from roocloud.lib.ids import new_id
from roocloud.lib.scoped import ScopedManager

if TYPE_CHECKING:
    from accounts.actors import Actor


def _organization_id() -> str:
    return new_id("org")


def _membership_id() -> str:
    return new_id("orgmem")


def _invitation_id() -> str:
    return new_id("inv")


def _domain_id() -> str:
    return new_id("dom")


def _draft_id() -> str:
    return new_id("draft")


def _item_id() -> str:
    return new_id("item")


class Role(models.TextChoices):
    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    MEMBER = "member", "Member"
    READONLY = "readonly", "Read only"


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(memberships__user_id=actor.user_id)

    def waiting_to_go(self, at: datetime) -> Self:
        """To be deleted, with time left to keep it."""
        return self.filter(deletion_due_at__gt=at)


class Organization(models.Model):
    """A tenant."""

    id = models.CharField(primary_key=True, max_length=40, default=_organization_id, editable=False)
    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True, max_length=60)
    created_at = models.DateTimeField()
    remote_control = models.BooleanField(default=True)  # of members' editors by their own browsers
    remote_watching = models.BooleanField(default=False)  # of members' editors by owners and admins
    deletion_due_at = models.DateTimeField(null=True, blank=True)  # when its deletion begins
    deletion_asked_by_id = models.CharField(max_length=40, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)  # when people and keys lost it
    cleared_at = models.DateTimeField(null=True, blank=True)  # the row is all that is left since
    settings_need_approval = models.BooleanField(default=False)  # by another than who wrote them

    unscoped = OrganizationQuerySet.as_manager()
    objects = ScopedManager.from_queryset(OrganizationQuerySet)()

    def __str__(self) -> str:
        return self.name


class Logo(models.Model):
    """The picture of an organization, drawn anew from what was uploaded; see orgs.logos."""

    organization = models.OneToOneField(
        Organization, primary_key=True, on_delete=models.CASCADE, related_name="logo"
    )
    picture = models.BinaryField()  # WebP, at most orgs.logos.SIDE pixels wide and high
    digest = models.CharField(max_length=64)  # SHA-256 of the picture

    unscoped = models.Manager["Logo"]()

    def __str__(self) -> str:
        return f"Logo of {self.organization_id}"


class MembershipQuerySet(models.QuerySet["Membership"]):
    def visible_to(self, actor: "Actor") -> Self:
        """The actor's own memberships and those of their colleagues."""
        return self.filter(organization__memberships__user_id=actor.user_id)

    def annotate_addresses(self) -> Self:
        """Each with the ``email`` of its person."""
        return self.annotate(email=F("user__email"))


class Membership(models.Model):
    """A person in an organization, with the role that they hold there."""

    id = models.CharField(primary_key=True, max_length=40, default=_membership_id, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="memberships"
    )
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    unscoped = MembershipQuerySet.as_manager()
    objects = ScopedManager.from_queryset(MembershipQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["organization", "user"], name="orgs_membership_once"),
            CheckConstraint(condition=Q(role__in=Role.values), name="orgs_membership_known_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.organization_id}"


class Departure(models.Model):
    """That somebody left or was taken out: they do not join by themselves again."""

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="departures"
    )
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()

    unscoped = models.Manager["Departure"]()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["organization", "user"], name="orgs_departure_once")
        ]

    def __str__(self) -> str:
        return f"{self.user_id} from {self.organization_id}"


class DomainQuerySet(models.QuerySet["Domain"]):
    def visible_to(self, actor: "Actor") -> Self:
        """Those that the actor may manage."""
        return self.filter(
            organization__memberships__user_id=actor.user_id,
            organization__memberships__role__in=[Role.OWNER, Role.ADMIN],
        )

    def verified(self) -> Self:
        return self.exclude(verified_at=None)


class Domain(models.Model):
    """A mail domain that an organization says is its own, and proves by a record in the DNS."""

    id = models.CharField(primary_key=True, max_length=40, default=_domain_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="domains")
    name = models.CharField(max_length=253)  # ASCII, lower case
    token = models.CharField(max_length=64)  # public: it stands in the DNS
    joins = models.BooleanField(default=False)  # people with a verified address become members
    created_at = models.DateTimeField()
    verified_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)  # last
    missing_since = models.DateTimeField(null=True, blank=True)  # the record of a verified one

    unscoped = DomainQuerySet.as_manager()
    objects = ScopedManager.from_queryset(DomainQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["organization", "name"], name="orgs_domain_once"),
            UniqueConstraint(
                fields=["name"],
                condition=Q(verified_at__isnull=False),
                name="orgs_domain_one_owner",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class SingleSignOn(models.Model):
    """An organization's own issuer of OpenID Connect (see accounts.single_sign_on)."""

    organization = models.OneToOneField(
        Organization, primary_key=True, on_delete=models.CASCADE, related_name="single_sign_on"
    )
    issuer = models.CharField(max_length=300)  # a URL without a trailing slash
    client_id = models.CharField(max_length=191)
    sealed_secret = models.TextField(editable=False)  # see set_secret
    is_required = models.BooleanField(default=False)  # of people at the proven domains
    break_glass_id = models.CharField(max_length=40, blank=True)  # an owner who may come otherwise
    updated_at = models.DateTimeField()

    unscoped = models.Manager["SingleSignOn"]()

    def __str__(self) -> str:
        return f"{self.issuer} for {self.organization_id}"

    @property
    def _secret_context(self) -> str:
        return f"orgs.single_sign_on.secret:{self.organization_id}:{self.issuer}"

    def set_secret(self, secret: str) -> None:
        """Seal it for this row and issuer (I2): whoever changes the issuer must give it again."""
        self.sealed_secret = crypto.seal(secret, context=self._secret_context)

    def secret(self) -> str:
        """Raises crypto.CannotUnseal."""
        return crypto.unseal(self.sealed_secret, context=self._secret_context).decode()

    def renewed_secret(self) -> str | None:
        """See roocloud.lib.sealed."""
        return sealed.renewed(self.sealed_secret, context=self._secret_context)


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def visible_to(self, actor: "Actor") -> Self:
        """Those that the actor may manage."""
        return self.filter(
            organization__memberships__user_id=actor.user_id,
            organization__memberships__role__in=[Role.OWNER, Role.ADMIN],
        )

    def live(self, at: datetime) -> Self:
        return self.filter(uses__lt=F("max_uses"), revoked_at=None, expires_at__gt=at)


class Invitation(models.Model):
    """The offer of a role: to one e-mail address, once, or to several people who have its link."""

    id = models.CharField(primary_key=True, max_length=40, default=_invitation_id, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="invitations"
    )
    email = models.EmailField(blank=True)  # empty: whoever has the link …
    domain = models.CharField(max_length=253, blank=True)  # … and an address there, if it names one
    role = models.CharField(max_length=10, choices=Role)
    max_uses = models.PositiveIntegerField(default=1)
    uses = models.PositiveIntegerField(default=0)
    token_hash = models.CharField(max_length=64, unique=True)
    made_by_id = models.CharField(max_length=40)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)  # last
    mailed_at = models.DateTimeField(
        null=True, blank=True
    )  # None: never, or its link was shown since
    revoked_at = models.DateTimeField(null=True, blank=True)

    unscoped = InvitationQuerySet.as_manager()
    objects = ScopedManager.from_queryset(InvitationQuerySet)()

    class Meta:
        constraints = [
            CheckConstraint(condition=Q(role__in=Role.values), name="orgs_invitation_known_role"),
            CheckConstraint(
                condition=Q(uses__lte=F("max_uses"), max_uses__gt=0),
                name="orgs_invitation_within_uses",
            ),
            CheckConstraint(
                condition=Q(email="") | Q(max_uses=1, domain=""),
                name="orgs_invitation_to_one_address_once",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-created_at"], name="orgs_invitation_list")
        ]

    def __str__(self) -> str:
        return f"{self.email or 'Link'} as {self.role}"

    @property
    def is_link(self) -> bool:
        return not self.email


class SettingsRevision(models.Model):
    """One version of the settings of an organization, or of a person's own scope.

    The newest row of a scope is in force. Written by orgs.actions.save_settings alone.
    """

    version = models.BigIntegerField(primary_key=True)  # from accounts.versions: unique everywhere
    previous_version = models.BigIntegerField(null=True)
    organization = models.ForeignKey(
        Organization, null=True, on_delete=models.CASCADE, related_name="revisions"
    )
    user = models.ForeignKey(  # the owner of a personal scope
        "accounts.User", null=True, on_delete=models.CASCADE, related_name="+"
    )
    document = models.JSONField()  # without "version"; protocol/settings.md §2
    made_by_id = models.CharField(max_length=40, blank=True)  # empty: the server's default
    approved_by_id = models.CharField(max_length=40, blank=True)  # where it needed approval
    made_at = models.DateTimeField()
    note = models.CharField(max_length=500, blank=True)

    unscoped = models.Manager["SettingsRevision"]()

    class Meta:
        constraints = [
            CheckConstraint(
                condition=Q(organization=None) ^ Q(user=None), name="orgs_revision_one_scope"
            ),
            UniqueConstraint(fields=["previous_version"], name="orgs_revision_one_successor"),
            UniqueConstraint(
                fields=["organization"],
                condition=Q(previous_version=None),
                name="orgs_revision_one_first",
            ),
            UniqueConstraint(
                fields=["user"],
                condition=Q(previous_version=None),
                name="orgs_revision_one_first_of_user",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-version"], name="orgs_revision_newest"),
            models.Index(fields=["user", "-version"], name="orgs_revision_newest_of_user"),
        ]

    def __str__(self) -> str:
        return f"Settings {self.version}"


class SettingsDraftQuerySet(models.QuerySet["SettingsDraft"]):
    def visible_to(self, actor: "Actor") -> Self:
        """Those of organizations that the actor administers."""
        return self.filter(
            organization__memberships__user_id=actor.user_id,
            organization__memberships__role__in=[Role.OWNER, Role.ADMIN],
        )

    def at_work(self) -> Self:
        return self.filter(proposed_at=None)

    def waiting(self) -> Self:
        return self.filter(proposed_at__isnull=False, decided_at=None)


class SettingsDraft(models.Model):
    """Settings of an organization that are not in force: at work, waiting for approval, or decided.

    Whatever is stored is a valid document, like that of a revision.
    """

    id = models.CharField(primary_key=True, max_length=40, default=_draft_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="drafts")
    author_id = models.CharField(max_length=40)
    base_version = models.BigIntegerField()  # of the revision that it starts from
    document = models.JSONField()
    note = models.CharField(max_length=500, blank=True)
    changed_at = models.DateTimeField()
    proposed_at = models.DateTimeField(null=True)  # None: at work
    decided_at = models.DateTimeField(null=True)
    decided_by_id = models.CharField(max_length=40, blank=True)
    version = models.BigIntegerField(null=True)  # that it became; None of one turned down

    unscoped = SettingsDraftQuerySet.as_manager()
    objects = ScopedManager.from_queryset(SettingsDraftQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["organization", "author_id"],
                condition=Q(proposed_at=None),
                name="orgs_draft_one_at_work",
            ),
            CheckConstraint(
                condition=Q(decided_at=None, decided_by_id="", version=None)
                | Q(decided_at__isnull=False, proposed_at__isnull=False),
                name="orgs_draft_decided_after_it_was_proposed",
            ),
        ]

    def __str__(self) -> str:
        return f"Draft {self.pk}"


class MarketplaceItemQuerySet(models.QuerySet["MarketplaceItem"]):
    def visible_to(self, actor: "Actor") -> Self:
        """Those of organizations that the actor administers."""
        return self.filter(
            organization__memberships__user_id=actor.user_id,
            organization__memberships__role__in=[Role.OWNER, Role.ADMIN],
        )

    def offered_to(self, organization_id: str | None) -> Self:
        """What the marketplace shows to a member of the organization; None: to anybody."""
        shown = Q(organization=None) | Q(is_for_everybody=True)
        if organization_id is not None:
            shown |= Q(organization_id=organization_id)
        return self.filter(shown)


class MarketplaceItem(models.Model):
    """A mode or an MCP server that editors offer to install. Written by orgs.actions alone."""

    class Kind(models.TextChoices):
        MODE = "mode", "Mode"
        MCP = "mcp", "MCP server"

    id = models.CharField(primary_key=True, max_length=40, default=_item_id, editable=False)
    organization = models.ForeignKey(  # None: of the deployment, for everybody
        Organization, null=True, on_delete=models.CASCADE, related_name="marketplace_items"
    )
    kind = models.CharField(max_length=4, choices=Kind)
    item_id = models.CharField(max_length=200)  # by which editors know it
    name = models.CharField(max_length=200)
    document = models.JSONField()  # as editors read it; protocol/tasks-and-telemetry.md §9
    is_for_everybody = models.BooleanField(default=False)  # although of an organization
    changed_at = models.DateTimeField()
    changed_by_id = models.CharField(max_length=40, blank=True)

    unscoped = MarketplaceItemQuerySet.as_manager()
    objects = ScopedManager.from_queryset(MarketplaceItemQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["organization", "kind", "item_id"], name="orgs_item_once"),
            UniqueConstraint(
                fields=["kind", "item_id"],
                condition=Q(organization=None),
                name="orgs_item_once_of_deployment",
            ),
            CheckConstraint(condition=Q(kind__in=["mode", "mcp"]), name="orgs_item_known_kind"),
        ]

    def __str__(self) -> str:
        return self.name
