"""Accounts of credit, their append-only ledger, and what running completions have set aside.

Amounts are nano-dollars (10^-9 USD).
"""

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint

from credits import policy
from roocloud.lib.ids import new_id
from roocloud.lib.scoped import ScopedManager

if TYPE_CHECKING:
    from accounts.actors import Actor


def _account_id() -> str:
    return new_id("acct")


def _budget_id() -> str:
    return new_id("budget")


def _top_up_id() -> str:
    return new_id("topup")


def _payment_id() -> str:
    return new_id("pay")


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
    def visible_to(self, actor: "Actor") -> Self:
        """Those on the account of the actor's context; for who does not decide over it, what their
        own requests set aside."""
        found = self.filter(account__in=Account.objects.visible_to(actor))
        return found if policy.may_decide(actor) else found.filter(subjects__member=actor.user_id)

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
    objects = ScopedManager.from_queryset(HoldQuerySet)()

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


class EntryQuerySet(models.QuerySet["Entry"]):
    def visible_to(self, actor: "Actor") -> Self:
        """The ledger of the actor's context, for who decides over its money."""
        if not policy.may_decide(actor):
            return self.none()
        return self.filter(account__in=Account.objects.visible_to(actor))


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

    unscoped = EntryQuerySet.as_manager()
    objects = ScopedManager.from_queryset(EntryQuerySet)()

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
        indexes = [
            models.Index(fields=["account", "-posted_at"], name="credits_entry_of_account"),
            models.Index(
                fields=["account", "-posted_at"],
                condition=~Q(kind="charge"),  # a few among all the charges
                name="credits_entry_added",
            ),
        ]

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


class TopUpQuerySet(models.QuerySet["TopUp"]):
    def visible_to(self, actor: "Actor") -> Self:
        """What was asked for the account of the actor's context; for who does not decide over it,
        what they asked for themselves."""
        found = self.filter(account__in=Account.objects.visible_to(actor))
        return found if policy.may_decide(actor) else found.filter(asked_by_id=actor.user_id)

    def waiting(self) -> Self:
        return self.filter(state=TopUp.State.ASKED)


class TopUp(models.Model):
    """What somebody asked to be added to an account, and what became of it."""

    class State(models.TextChoices):
        ASKED = "asked", "Waiting"
        GRANTED = "granted", "Granted"
        DECLINED = "declined", "Declined"

    id = models.CharField(primary_key=True, max_length=40, default=_top_up_id, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="top_ups")
    asked_by_id = models.CharField(max_length=40)
    key = models.CharField(max_length=60)  # of the page that asked: sent twice it asks once (C6)
    amount_nanos = models.BigIntegerField()
    reason = models.CharField(max_length=300)
    asked_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State, default=State.ASKED)
    decided_by_id = models.CharField(max_length=40, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    granted_nanos = models.BigIntegerField(default=0)  # may be less than was asked for
    answer = models.CharField(max_length=300, blank=True)

    unscoped = TopUpQuerySet.as_manager()
    objects = ScopedManager.from_queryset(TopUpQuerySet)()

    class Meta:
        verbose_name = "top-up request"
        constraints = [
            UniqueConstraint(
                fields=["account", "asked_by_id", "key"], name="credits_top_up_once_per_key"
            ),
            UniqueConstraint(
                fields=["account", "asked_by_id"],
                condition=Q(state="asked"),
                name="credits_top_up_one_waiting",
            ),
            CheckConstraint(condition=Q(amount_nanos__gt=0), name="credits_top_up_positive"),
            CheckConstraint(
                condition=Q(state="asked", decided_at=None, granted_nanos=0)
                | Q(state="granted", decided_at__isnull=False, granted_nanos__gt=0)
                | Q(state="declined", decided_at__isnull=False, granted_nanos=0),
                name="credits_top_up_state_fits",
            ),
        ]
        indexes = [models.Index(fields=["account", "-asked_at"], name="credits_top_up_list")]

    def __str__(self) -> str:
        return self.pk


class PaymentQuerySet(models.QuerySet["Payment"]):
    def visible_to(self, actor: "Actor") -> Self:
        """Those for the account of the actor's context, for who decides over its money."""
        if not policy.may_decide(actor):
            return self.none()
        return self.filter(account__in=Account.objects.visible_to(actor))


class Payment(models.Model):
    """Credit that somebody pays for at Stripe. What was paid is what Stripe says, not what was
    asked for (docs/decisions/0043-payments.md)."""

    id = models.CharField(primary_key=True, max_length=40, default=_payment_id, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="payments")
    by_id = models.CharField(max_length=40)
    key = models.CharField(max_length=60)  # of the page that began it: sent twice it begins one
    amount_nanos = models.BigIntegerField()  # asked for
    checkout_url = models.CharField(max_length=2000, blank=True)  # empty until Stripe gave it
    begun_at = models.DateTimeField()
    payment_id = models.CharField(max_length=255, null=True, unique=True)  # noqa: DJ001 - unique
    paid_nanos = models.BigIntegerField(default=0)
    refunded_nanos = models.BigIntegerField(default=0)  # of what was paid
    paid_at = models.DateTimeField(null=True, blank=True)

    unscoped = PaymentQuerySet.as_manager()
    objects = ScopedManager.from_queryset(PaymentQuerySet)()

    class Meta:
        constraints = [
            UniqueConstraint(fields=["account", "by_id", "key"], name="credits_payment_once"),
            CheckConstraint(
                condition=Q(paid_at=None, payment_id=None, paid_nanos=0, refunded_nanos=0)
                | Q(paid_at__isnull=False, payment_id__isnull=False, paid_nanos__gt=0),
                name="credits_payment_paid_whole",
            ),
            CheckConstraint(
                condition=Q(refunded_nanos__gte=0, refunded_nanos__lte=F("paid_nanos")),
                name="credits_payment_refund_within",
            ),
        ]

    def __str__(self) -> str:
        return self.pk
