"""Accounts of credit, their append-only ledger, and what running completions have set aside.

Amounts are nano-dollars (10^-9 USD).
"""

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from roocloud.lib.ids import new_id
from roocloud.lib.scoped import ScopedManager

if TYPE_CHECKING:
    from accounts.actors import Actor


def _account_id() -> str:
    return new_id("acct")


def _budget_id() -> str:
    return new_id("budget")


class AccountQuerySet(models.QuerySet["Account"]):
    def visible_to(self, actor: "Actor") -> Self:
        """The one account that the actor's context spends from."""
        if actor.organization_id is not None:
            return self.filter(organization_id=actor.organization_id)
        return self.filter(user_id=actor.user_id)


class Account(models.Model):
    """The credit of one organization, or of one person outside of any."""

    id = models.CharField(primary_key=True, max_length=40, default=_account_id, editable=False)
    organization = models.OneToOneField(
        "orgs.Organization",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="credit_account",
    )
    user = models.OneToOneField(
        "accounts.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="credit_account",
    )
    balance_nanos = models.BigIntegerField(default=0)  # the sum of its entries, kept beside them
    held_nanos = models.BigIntegerField(default=0)  # the sum of its open holds, likewise
    created_at = models.DateTimeField()

    unscoped = AccountQuerySet.as_manager()
    objects = ScopedManager.from_queryset(AccountQuerySet)()

    class Meta:
        constraints = [
            CheckConstraint(
                condition=Q(organization=None) ^ Q(user=None), name="credits_account_one_owner"
            ),
            CheckConstraint(
                condition=Q(held_nanos__gte=0), name="credits_account_held_not_negative"
            ),
        ]
        permissions = [("grant_credit", "Can grant credit")]

    def __str__(self) -> str:
        return self.pk


class HoldQuerySet(models.QuerySet["Hold"]):
    def open(self) -> Self:
        return self.filter(settled_at=None)


class Hold(models.Model):
    """Credit that a process has set aside for completions of one kind, until their real costs are
    known (docs/decisions/0009). What is open of it is its amount less its cost."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="holds")
    amount_nanos = models.BigIntegerField()  # the worst cases; zero for a free model
    cost_nanos = models.BigIntegerField(default=0)  # what has been charged; never more
    subjects = models.JSONField(default=dict)  # see credits.budgets.Subjects
    spans = models.JSONField(default=list)  # ids of the BudgetSpans that it counts against
    placed_at = models.DateTimeField()
    seen_at = models.DateTimeField()  # when its process last gave a sign of life
    settled_at = models.DateTimeField(null=True)

    unscoped = HoldQuerySet.as_manager()

    class Meta:
        constraints = [
            CheckConstraint(
                condition=Q(cost_nanos__gte=0, cost_nanos__lte=F("amount_nanos")),
                name="credits_hold_within",
            ),
        ]
        indexes = [
            models.Index(fields=["seen_at"], condition=Q(settled_at=None), name="credits_hold_open")
        ]

    def __str__(self) -> str:
        return f"hold {self.pk}"

    @property
    def open_nanos(self) -> int:
        """What is still set aside, while it is open."""
        return self.amount_nanos - self.cost_nanos


class Entry(models.Model):
    """One line of the ledger. Rows are added and never changed; the database refuses (C1)."""

    class Kind(models.TextChoices):
        GRANT = "grant", "Grant"
        CHARGE = "charge", "Charge"
        CORRECTION = "correction", "Correction"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="entries")
    kind = models.CharField(max_length=12, choices=Kind)
    amount_nanos = models.BigIntegerField()  # added to the balance: negative for a charge
    key = models.CharField(max_length=80)  # the same key is the same entry
    hold = models.ForeignKey(
        Hold, null=True, on_delete=models.PROTECT, related_name="entries"
    )  # of a charge
    made_by_id = models.CharField(max_length=40, blank=True)
    note = models.CharField(max_length=200, blank=True)
    posted_at = models.DateTimeField()

    unscoped = models.Manager["Entry"]()

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [
            UniqueConstraint(fields=["account", "key"], name="credits_entry_once_per_key"),
            CheckConstraint(
                condition=Q(kind="charge", amount_nanos__lte=0, hold__isnull=False)
                | Q(kind="grant", amount_nanos__gt=0, hold=None)
                | Q(kind="correction", hold=None),
                name="credits_entry_sign_fits_kind",
            ),
        ]
        indexes = [models.Index(fields=["account", "-posted_at"], name="credits_entry_of_account")]

    def __str__(self) -> str:
        return self.key

    @staticmethod
    def charge_key(completion_id: str) -> str:
        """The key of the charge for a completion."""
        return f"completion:{completion_id}"


class BudgetQuerySet(models.QuerySet["Budget"]):
    def visible_to(self, actor: "Actor") -> Self:
        """Those on the account that the actor's context spends from."""
        return self.filter(account__in=Account.objects.visible_to(actor))


class Budget(models.Model):
    """A limit on what may be spent from an account in a period. Every budget that matches a
    completion must have room for it (MO1)."""

    class Scope(models.TextChoices):
        ACCOUNT = "account", "Everything"
        MEMBER = "member", "A member"
        KEY = "key", "An API key"
        MODEL = "model", "A model"

    class Period(models.TextChoices):
        DAY = "day", "a day"
        WEEK = "week", "a week"
        MONTH = "month", "a month"
        TOTAL = "total", "in total"

    id = models.CharField(primary_key=True, max_length=40, default=_budget_id, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="budgets")
    scope = models.CharField(max_length=10, choices=Scope)
    subject = models.CharField(
        max_length=200,
        blank=True,
        help_text="The id of the member, key or model; empty for each of them apart.",
    )
    period = models.CharField(max_length=10, choices=Period)
    limit_nanos = models.BigIntegerField()
    made_by_id = models.CharField(max_length=40, blank=True)
    created_at = models.DateTimeField()

    unscoped = BudgetQuerySet.as_manager()
    objects = ScopedManager.from_queryset(BudgetQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["account", "scope", "subject", "period"], name="credits_budget_once"
            ),
            CheckConstraint(condition=Q(limit_nanos__gte=0), name="credits_budget_not_negative"),
            CheckConstraint(
                condition=~Q(scope="account") | Q(subject=""),
                name="credits_budget_of_all_has_no_subject",
            ),
        ]

    def __str__(self) -> str:
        return self.pk


class BudgetSpan(models.Model):
    """What counts against a budget in one period, for one member, key or model. A new period is a
    new row, so nothing has to be reset."""

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="spans")
    subject = models.CharField(max_length=200, blank=True)
    starts_on = models.DateField()  # in UTC; of a total the first day of all
    spent_nanos = models.BigIntegerField(default=0)
    held_nanos = models.BigIntegerField(default=0)
    warned_at = models.DateTimeField(null=True)  # when people were told that it runs out

    unscoped = models.Manager["BudgetSpan"]()

    class Meta:
        constraints = [
            UniqueConstraint(
                fields=["budget", "subject", "starts_on"], name="credits_span_once_per_period"
            ),
            CheckConstraint(
                condition=Q(spent_nanos__gte=0, held_nanos__gte=0),
                name="credits_span_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.budget_id} {self.starts_on}"
