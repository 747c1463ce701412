"""Credit in the admin: the ledger to look at, and a grant as an action with a reason."""

from functools import partial

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.actors import web_actor
from credits import actions
from credits.models import Account, Entry, Hold
from roocloud.lib.admin import ReadOnlyAdmin
from roocloud.lib.ids import new_id
from roocloud.lib.money import format_usd, usd_to_nanos
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


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin[Account]):
    list_display = ("id", "organization", "user", "balance", "created_at")
    list_select_related = ("organization", "user")
    search_fields = ("=id", "organization__name", "=user__email")
    ordering = ("-created_at", "id")
    action_form = GrantForm
    actions = ("grant",)

    @admin.display(ordering="balance_nanos")
    def balance(self, account: Account) -> str:
        return format_usd(account.balance_nanos)

    def has_grant_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("credits.grant_credit")

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
    list_display = ("key", "account", "amount", "cost", "placed_at", "settled_at")
    list_select_related = ("account",)
    search_fields = ("=key", "=account__id")
    date_hierarchy = "placed_at"
    ordering = ("-placed_at", "id")

    @admin.display(ordering="amount_nanos")
    def amount(self, hold: Hold) -> str:
        return format_usd(hold.amount_nanos)

    @admin.display(ordering="cost_nanos")
    def cost(self, hold: Hold) -> str:
        return "running" if hold.cost_nanos is None else format_usd(hold.cost_nanos)
