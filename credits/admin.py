"""Credit in the admin: the ledger to look at, and a grant as an action with a reason."""

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path
from django.utils import timezone

from accounts import queries as people
from accounts.actors import web_actor
from credits import actions, policy, top_ups
from credits.forms import DecideForm
from credits.models import Account, Budget, BudgetSpan, Entry, Hold, Payment, TopUp
from roocloud.lib.admin import ReadOnlyAdmin
from roocloud.lib.ids import new_id
from roocloud.lib.money import format_usd, nanos_to_plain_usd, usd_to_nanos
from roocloud.lib.refusals import Refusal


class GrantForm(ActionForm):
    amount = forms.CharField(required=False, label="USD each")
    reason = forms.CharField(required=False, max_length=200)
    #: One per page: the page sent twice grants once (C6).
    grant_key = forms.CharField(
        required=False,
        max_length=60,
        label="",
        initial=partial(new_id, "grant"),
        widget=forms.HiddenInput,
    )


class GrantToForm(forms.Form):
    """To anybody, also before they have an account."""

    organization = Account._meta.get_field("organization").formfield(
        required=False, help_text="All its members spend it."
    )
    person = forms.EmailField(
        required=False,
        label="Or a person",
        help_text="The address that they sign in with, for their personal account.",
    )
    amount = forms.CharField(
        max_length=30, label="Amount in USD", help_text="Such as 25; -5 takes back."
    )
    reason = forms.CharField(max_length=200, help_text="Kept in the ledger.")
    grant_key = forms.CharField(
        max_length=60, initial=partial(new_id, "grant"), widget=forms.HiddenInput
    )

    def clean_amount(self) -> int:
        """Nano-dollars."""
        try:
            return usd_to_nanos(self.cleaned_data["amount"])
        except Refusal as refusal:
            raise forms.ValidationError(refusal.message) from None

    def clean_person(self) -> str:
        """An id, empty for nobody."""
        email = self.cleaned_data["person"]
        user = get_user_model().objects.filter(email__iexact=email).first() if email else None
        if email and user is None:
            raise forms.ValidationError("Nobody signs in with that address.")
        return str(user.pk) if user else ""

    def clean(self) -> dict[str, Any]:
        if bool(self.cleaned_data.get("organization")) == bool(self.cleaned_data.get("person")):
            self.add_error("organization", "Choose an organization, or name a person.")
        return self.cleaned_data


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin[Account]):
    list_display = ("id", "organization", "user", "balance", "created_at")
    list_select_related = ("organization", "user")
    list_filter = (("organization", admin.EmptyFieldListFilter), "created_at")
    date_hierarchy = "created_at"
    search_fields = ("=id", "organization__name", "=user__email")
    ordering = ("-created_at", "id")
    action_form = GrantForm
    actions = ("grant",)

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.grant_page)
        return [path("grant/", page, name="credits_account_grant"), *super().get_urls()]

    def grant_page(self, request: HttpRequest) -> HttpResponse:
        """Credit for an organization or a person who may have none so far."""
        if not self.has_grant_permission(request):
            raise PermissionDenied
        form = GrantToForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            given, at = form.cleaned_data, timezone.now()
            organization = given["organization"]
            try:
                with transaction.atomic():
                    account = actions.account_of(
                        user_id=given["person"],
                        organization_id=organization.pk if organization else None,
                        at=at,
                    )
                    is_new = actions.grant(
                        account=account,
                        amount_nanos=given["amount"],
                        key=f"admin:{given['grant_key']}",
                        by=web_actor(request),
                        note=given["reason"],
                        at=at,
                    )
            except Refusal as refusal:
                form.add_error(None, refusal.message)
            else:
                said = f"Granted {format_usd(given['amount'])}." if is_new else "Granted before."
                self.message_user(request, said, messages.SUCCESS)
                return redirect("admin:credits_account_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": "Grant credit",
            "opts": self.opts,
            "form": form,
        }
        return render(request, "admin/credits/account/grant.html", context)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may = {"may_grant": self.has_grant_permission(request)}
        return super().changelist_view(request, {**may, **(extra_context or {})})

    @admin.display(ordering="balance_nanos")
    def balance(self, account: Account) -> str:
        return format_usd(account.balance_nanos)

    def has_grant_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(policy.GRANT)

    @admin.action(description="Grant credit", permissions=["grant"])
    def grant(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        reason = request.POST.get("reason", "").strip()
        if not reason:
            self.message_user(request, "Say why, in the field beside the amount.", messages.ERROR)
            return
        key = request.POST.get("grant_key", "")
        if not key:
            self.message_user(request, "Load this page again, then grant.", messages.ERROR)
            return
        try:
            amount_nanos = usd_to_nanos(request.POST.get("amount", ""))
            with transaction.atomic():
                granted = [
                    actions.grant(
                        account=account,
                        amount_nanos=amount_nanos,
                        # Apart from the keys of charges, which a typed key must not take.
                        key=f"admin:{key}",
                        by=web_actor(request),
                        note=reason,
                        at=timezone.now(),
                    )
                    for account in queryset.order_by("pk")
                ]
        except Refusal as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
            return
        if all(granted):
            said = f"Granted {format_usd(amount_nanos)} to each."
            self.message_user(request, said, messages.SUCCESS)
        else:
            said = (
                f"Granted to {sum(granted)} of {len(granted)}: this page had granted to the others "
                "before. Look at the balances; load the page again to grant more."
            )
            self.message_user(request, said, messages.WARNING)


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin[Entry]):
    list_display = ("posted_at", "account", "kind", "amount", "key", "note")
    list_filter = ("kind",)
    list_select_related = ("account",)
    search_fields = ("=key", "=account__id", "note")
    date_hierarchy = "posted_at"
    ordering = ("-posted_at", "id")

    @admin.display(ordering="amount_nanos")
    def amount(self, entry: Entry) -> str:
        return format_usd(entry.amount_nanos)


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin[Hold]):
    list_display = ("id", "account", "amount", "cost", "placed_at", "settled_at")
    list_select_related = ("account",)
    list_filter = (("settled_at", admin.EmptyFieldListFilter),)
    search_fields = ("=id", "=account__id")
    date_hierarchy = "placed_at"
    ordering = ("-placed_at", "id")

    @admin.display(ordering="amount_nanos")
    def amount(self, hold: Hold) -> str:
        return format_usd(hold.amount_nanos)

    @admin.display(ordering="cost_nanos")
    def cost(self, hold: Hold) -> str:
        return format_usd(hold.cost_nanos)


@admin.register(Budget)
class BudgetAdmin(ReadOnlyAdmin[Budget]):
    list_display = ("account", "scope", "subject", "period", "limit", "created_at")
    list_filter = ("scope", "period")
    list_select_related = ("account__organization", "account__user")
    search_fields = ("=id", "=account__id", "=subject", "=account__user__email")
    date_hierarchy = "created_at"
    ordering = ("-created_at", "id")

    @admin.display(ordering="limit_nanos")
    def limit(self, budget: Budget) -> str:
        return format_usd(budget.limit_nanos)


@admin.register(BudgetSpan)
class BudgetSpanAdmin(ReadOnlyAdmin[BudgetSpan]):
    """What was used of budgets, a row a period."""

    list_display = ("starts_on", "budget", "subject", "used", "limit", "warned_at")
    list_filter = ("budget__period", "budget__scope", ("warned_at", admin.EmptyFieldListFilter))
    list_select_related = ("budget",)
    search_fields = ("=budget__id", "=budget__account__id", "=subject")
    date_hierarchy = "starts_on"
    ordering = ("-starts_on", "-id")

    def used(self, span: BudgetSpan) -> str:
        return format_usd(span.spent_nanos + span.held_nanos)

    def limit(self, span: BudgetSpan) -> str:
        return format_usd(span.budget.limit_nanos)


@admin.register(TopUp)
class TopUpAdmin(ReadOnlyAdmin[TopUp]):
    list_display = ("asked_at", "who", "account", "amount", "state", "granted", "reason")
    list_filter = ("state",)
    list_select_related = ("account__organization", "account__user")
    search_fields = ("=id", "=asked_by_id", "=account__id", "reason")
    date_hierarchy = "asked_at"
    ordering = ("-asked_at", "id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[TopUp]:
        person = get_user_model()._default_manager.filter(pk=OuterRef("asked_by_id"))
        return super().get_queryset(request).annotate(email=Subquery(person.values("email")[:1]))

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.decide_page)
        name = "credits_topup_decide"
        return [path("<str:top_up_id>/decide/", page, name=name), *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One that waits is answered on its own page, by who may."""
        waits = TopUp.unscoped.waiting().filter(pk=object_id).exists()
        if waits and request.user.has_perm(policy.GRANT):
            return redirect("admin:credits_topup_decide", object_id)
        return super().change_view(request, object_id, form_url, extra_context)

    def decide_page(self, request: HttpRequest, top_up_id: str) -> HttpResponse:
        """Grant it, or decline it and say why."""
        if not request.user.has_perm(policy.GRANT):
            raise PermissionDenied
        rows = TopUp.unscoped.select_related("account__organization", "account__user")
        found = get_object_or_404(rows, pk=top_up_id)
        form = DecideForm(
            request.POST or None, initial={"amount": nanos_to_plain_usd(found.amount_nanos)}
        )
        if request.method == "POST" and form.is_valid():
            by, given, at = web_actor(request), form.cleaned_data, timezone.now()
            answer = {"by": by, "top_up_id": found.pk, "answer": given["answer"], "at": at}
            try:
                if "grant" in request.POST:
                    is_new = top_ups.grant(amount_nanos=given["amount"], **answer)
                else:
                    is_new = top_ups.decline(**answer)
            except Refusal as refusal:
                form.add_error(refusal.field, refusal.message)
            else:
                said = "Answered." if is_new else "Answered before."
                self.message_user(request, said, messages.SUCCESS)
                return redirect("admin:credits_topup_changelist")
        emails = people.emails([found.asked_by_id])
        context = {
            **self.admin_site.each_context(request),
            "title": f"{format_usd(found.amount_nanos)} of credit is asked for",
            "opts": self.opts,
            "form": form,
            "top_up": found,
            "who": emails.get(found.asked_by_id, found.asked_by_id),
        }
        return render(request, "admin/credits/topup/decide.html", context)

    @admin.display(ordering="email", description="asked by")
    def who(self, top_up: TopUp) -> str:
        return getattr(top_up, "email", None) or top_up.asked_by_id

    @admin.display(ordering="amount_nanos")
    def amount(self, top_up: TopUp) -> str:
        return format_usd(top_up.amount_nanos)

    @admin.display(ordering="granted_nanos")
    def granted(self, top_up: TopUp) -> str:
        return format_usd(top_up.granted_nanos) if top_up.granted_nanos else ""


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin[Payment]):
    list_display = ("begun_at", "id", "account", "asked", "paid", "refunded", "paid_at")
    list_select_related = ("account",)
    list_filter = (("paid_at", admin.EmptyFieldListFilter),)
    search_fields = ("=id", "=payment_id", "=account__id", "=by_id")
    date_hierarchy = "begun_at"
    ordering = ("-begun_at", "id")

    @admin.display(ordering="amount_nanos")
    def asked(self, payment: Payment) -> str:
        return format_usd(payment.amount_nanos)

    @admin.display(ordering="paid_nanos")
    def paid(self, payment: Payment) -> str:
        return format_usd(payment.paid_nanos)

    @admin.display(ordering="refunded_nanos")
    def refunded(self, payment: Payment) -> str:
        return format_usd(payment.refunded_nanos)
