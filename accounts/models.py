"""People, and every credential that stands for one of them. Secrets are stored as hashes."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint
from django.db.models.functions import Lower

from accounts import memberships
from roocloud.lib.ids import new_id
from roocloud.lib.scoped import ScopedManager

if TYPE_CHECKING:
    from accounts.actors import Actor


def _user_id() -> str:
    return new_id("user")


def _session_id() -> str:
    return new_id("sess")


def _api_key_id() -> str:
    return new_id("key")


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username)


class User(AbstractBaseUser, PermissionsMixin):
    """A person; the e-mail address is the identity."""

    id = models.CharField(primary_key=True, max_length=40, default=_user_id, editable=False)
    email = models.EmailField(unique=True)
    first_name = models.CharField(max_length=100, blank=True)
    last_name = models.CharField(max_length=100, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(
        "site administrator", default=False, help_text="May use the Django admin."
    )
    date_joined = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        constraints = [UniqueConstraint(Lower("email"), name="accounts_user_email_once")]

    def __str__(self) -> str:
        return self.email

    @property
    def name(self) -> str:
        """Names joined by a space; the e-mail address for somebody who gave none."""
        return f"{self.first_name} {self.last_name}".strip() or self.email

    def get_full_name(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.first_name or self.email


class Erasure(models.Model):
    """A person asked to be forgotten. Until it is due they may take it back; then it is done, bit
    by bit, and the row says so."""

    user = models.OneToOneField(
        User, primary_key=True, on_delete=models.CASCADE, related_name="erasure"
    )
    asked_at = models.DateTimeField()
    due_at = models.DateTimeField()
    began_at = models.DateTimeField(null=True, blank=True)  # too late to take it back
    done_at = models.DateTimeField(null=True, blank=True)

    unscoped = models.Manager["Erasure"]()

    class Meta:
        indexes = [
            models.Index("due_at", condition=Q(done_at=None), name="accounts_erasure_due"),
        ]

    def __str__(self) -> str:
        return f"Erasure of {self.user_id}"


class ClientSessionQuerySet(models.QuerySet["ClientSession"]):
    def visible_to(self, actor: "Actor") -> Self:
        return self.filter(user_id=actor.user_id)

    def alive(self, at: datetime) -> Self:
        """Neither ended nor past their expiry."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=at), ended_at=None)


class ClientSession(models.Model):
    """A sign-in that lives outside the browser: an editor, a CLI login, or a job token.

    Session tokens of an editor, the CLI's token and a job token all name their row (claim ``sid``),
    so that ending the row ends them (B4).
    """

    class Kind(models.TextChoices):
        EDITOR = "editor", "Editor"
        CLI = "cli", "Command line"
        JOB = "job", "Job token"

    id = models.CharField(primary_key=True, max_length=40, default=_session_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="client_sessions")
    kind = models.CharField(max_length=8, choices=Kind)
    organization_id = models.CharField(max_length=40, blank=True)  # last used, or fixed for a job
    client_token_hash = models.CharField(max_length=64, blank=True)  # editors alone hold one
    signed_on = models.CharField(max_length=500, blank=True, db_default="")  # see proofs
    label = models.CharField(max_length=100, blank=True)  # "VS Code", or the job token's name
    user_agent = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)  # None: until it is ended
    ended_at = models.DateTimeField(null=True, blank=True)

    unscoped = ClientSessionQuerySet.as_manager()
    objects = ScopedManager.from_queryset(ClientSessionQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["client_token_hash"],
                condition=~Q(client_token_hash=""),
                name="accounts_session_client_token_once",
            ),
            CheckConstraint(
                condition=Q(kind="editor") ^ Q(client_token_hash=""),
                name="accounts_session_editor_has_client_token",
            ),
        ]
        indexes = [
            models.Index(fields=["user", "-last_seen_at"], name="accounts_session_of_user"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.label}".strip()

    @property
    def proofs(self) -> frozenset[str] | None:
        """The single sign-ons by which its person signed in when they made it; None for a job
        token, which is asked for none."""
        return None if self.kind == self.Kind.JOB else frozenset(self.signed_on.split())


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def visible_to(self, actor: "Actor") -> Self:
        """The person's own, and those of the organization that the actor administers."""
        found = Q(user_id=actor.user_id)
        if actor.organization_id is not None and memberships.administers(actor.role):
            found |= Q(organization_id=actor.organization_id)
        return self.filter(found)

    def unrevoked(self) -> Self:
        return self.filter(revoked_at=None)

    def working(self, at: datetime) -> Self:
        """Neither revoked, paused nor past their end."""
        return self.filter(
            Q(expires_at=None) | Q(expires_at__gt=at), revoked_at=None, paused_at=None
        )

    def of_secret(self, secret_hash: str, *, at: datetime) -> Self:
        """The key of a secret, which may be the one before the present while that overlaps."""
        return self.filter(
            Q(secret_hash=secret_hash) | Q(previous_hash=secret_hash, previous_until__gt=at)
        )


class ApiKey(models.Model):
    """A static secret for any OpenAI client: it opens /proxy, in the context it was made in."""

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        PAUSED = "paused", "Paused"
        EXPIRED = "expired", "Expired"
        REVOKED = "revoked", "Revoked"

    id = models.CharField(primary_key=True, max_length=40, default=_api_key_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    organization_id = models.CharField(max_length=40, blank=True)  # empty: the personal account
    name = models.CharField(max_length=100)
    note = models.CharField(max_length=300, blank=True)  # what it is for
    model_ids = models.JSONField(default=list, blank=True)  # empty: all that the person may use
    secret_hash = models.CharField(max_length=64, unique=True)
    last_four = models.CharField(max_length=4)  # of the secret, to know it by
    previous_hash = models.CharField(max_length=64, blank=True)  # of the secret before a rotation
    previous_until = models.DateTimeField(null=True, blank=True)  # and how long that still works
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by_id = models.CharField(max_length=40, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_network = models.CharField(max_length=50, blank=True)  # "203.0.113.0/24"
    last_used_app = models.CharField(max_length=100, blank=True)  # its User-Agent, cut

    unscoped = ApiKeyQuerySet.as_manager()
    objects = ScopedManager.from_queryset(ApiKeyQuerySet)()

    class Meta:
        verbose_name = "API key"
        constraints = [
            UniqueConstraint(
                fields=["previous_hash"],
                condition=~Q(previous_hash=""),
                name="accounts_api_key_previous_once",
            ),
            CheckConstraint(
                condition=Q(previous_hash="") ^ Q(previous_until__isnull=False),
                name="accounts_api_key_previous_ends",
            ),
        ]
        indexes = [
            models.Index(fields=["user", "-created_at"], name="accounts_api_key_of_user"),
            models.Index(fields=["organization_id", "-created_at"], name="accounts_api_key_of_org"),
        ]

    def __str__(self) -> str:
        return f"{self.name} …{self.last_four}"

    def state(self, at: datetime) -> State:
        """Of the key itself; the person and the membership behind it are asked apart."""
        if self.revoked_at is not None:
            return self.State.REVOKED
        if self.expires_at is not None and self.expires_at <= at:
            return self.State.EXPIRED
        return self.State.ACTIVE if self.paused_at is None else self.State.PAUSED


class Ticket(models.Model):
    """What the browser hands to the editor; good for one exchange (B1)."""

    token_hash = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    organization_id = models.CharField(max_length=40, blank=True)
    state_hash = models.CharField(max_length=64)  # which hand-off page it belongs to
    editor = models.CharField(max_length=100)  # scheme://authority it goes to
    signed_on = models.CharField(max_length=500, blank=True, db_default="")  # as of a ClientSession
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    redeemed_at = models.DateTimeField(null=True, blank=True)  # without a session: void since
    session = models.ForeignKey(
        ClientSession, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    unscoped = models.Manager["Ticket"]()

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="accounts_ticket_expiry")]

    def __str__(self) -> str:
        return f"Ticket for {self.editor}"


class SigningKey(models.Model):
    """A key that signs session, CLI and job tokens. The newest signs; all listed ones verify."""

    kid = models.CharField(primary_key=True, max_length=40)
    sealed_private_key = models.TextField()  # PEM of an Ed25519 key, see accounts.tokens
    public_key = models.TextField()  # PEM
    created_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, blank=True)  # verifies no more

    unscoped = models.Manager["SigningKey"]()

    def __str__(self) -> str:
        return self.kid


class VersionCounter(models.Model):
    """One row: the last version number given to any settings document (see accounts.versions)."""

    value = models.BigIntegerField(default=0)

    objects = models.Manager["VersionCounter"]()

    class Meta:
        constraints = [CheckConstraint(condition=Q(pk=1), name="accounts_one_version_counter")]

    def __str__(self) -> str:
        return str(self.value)


class UserSettings(models.Model):
    """A person's settings as the editor reads them; written by accounts.user_settings alone."""

    user = models.OneToOneField(
        User, primary_key=True, on_delete=models.CASCADE, related_name="settings"
    )
    version = models.BigIntegerField(unique=True)
    document = models.JSONField()  # protocol/settings.md §7 "settings"
    updated_at = models.DateTimeField()

    unscoped = models.Manager["UserSettings"]()

    class Meta:
        verbose_name_plural = "user settings"

    def __str__(self) -> str:
        return f"Settings {self.version}"


class UserSettingsRevision(models.Model):
    """Every version that a person's settings ever had."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    version = models.BigIntegerField(unique=True)
    previous_version = models.BigIntegerField(null=True)
    document = models.JSONField()
    made_at = models.DateTimeField()

    unscoped = models.Manager["UserSettingsRevision"]()

    def __str__(self) -> str:
        return f"Settings {self.version}"
