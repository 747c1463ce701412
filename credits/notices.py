"""Whom to tell about money, and what."""

from datetime import datetime

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from accounts import api_keys
from accounts import queries as people
from credits import budgets, overview, policy
from credits.models import Budget, BudgetSpan, TopUp
from notifications import actions as notifications
from notifications.actions import News
from notifications.kinds import Kind
from orgs import queries as orgs
from roocloud.lib.money import format_usd


def recipients(span_id: int) -> list[str]:
    """Ids of whom a budget that runs out concerns: the admins of the organization, or the person
    whose account it is, and the member whom it limits. None if the budget is gone."""
    span = BudgetSpan.unscoped.filter(pk=span_id).select_related("budget__account").first()
    if span is None:
        return []
    account = span.budget.account
    found = (
        set(orgs.admin_ids(account.organization_id))
        if account.organization_id
        else {account.user_id or ""}
    )
    if span.budget.scope == Budget.Scope.MEMBER:
        found.add(span.subject)
    if span.budget.scope == Budget.Scope.KEY and (owner := api_keys.owner_id(span.subject)):
        found.add(owner)
    return sorted(found)


def tell_of_budget(*, span_id: int, at: datetime) -> None:
    """Tell everybody whom it concerns, once, that a budget is nearly used up."""
    span = BudgetSpan.unscoped.filter(pk=span_id).select_related("budget").first()
    if span is None:
        return
    kind = budgets.describe(span.budget)
    name = overview.subject_name(span.budget.scope, span.subject)
    whose = f" for {name}" if name else ""
    until = budgets.ends_on(span.budget.period, at)
    text = (
        f"Of a {kind} of {format_usd(span.budget.limit_nanos)}{whose}, "
        f"{format_usd(span.spent_nanos)} is spent. When it is used up, requests that count against "
        f"it are refused{f' until {until:%-d %B}' if until else ''}."
    )
    news = [
        News(
            user_id=user_id,
            kind=Kind.BUDGET,
            key=f"budget:{span_id}",
            topic=f"budget:{span.budget_id}",
            title=f"A {kind} is nearly used up",
            text=text,
            path=reverse("budgets"),
        )
        for user_id in recipients(span_id)
    ]
    notifications.tell(news, at=at)


def recipients_of_top_up(top_up_id: str) -> list[str]:
    """Ids of those who may answer a request: who may grant credit, and the admins of the
    organization that it is for; not who asked. None if it is answered."""
    found = TopUp.unscoped.waiting().filter(pk=top_up_id).select_related("account").first()
    if found is None:
        return []
    organization_id = found.account.organization_id
    admins = orgs.admin_ids(organization_id) if organization_id else ()
    return sorted({*people.staff_who_may(policy.GRANT), *admins} - {found.asked_by_id})


def tell_of_top_up(*, top_up_id: str, user_id: str) -> None:
    """Mail one person that somebody asks for credit, with the way to the page on which they can
    answer."""
    found = TopUp.unscoped.filter(pk=top_up_id).select_related("account__organization").first()
    email = people.email_of(user_id)
    if found is None or email is None:
        return
    grants = user_id in people.staff_who_may(policy.GRANT)
    path = (
        reverse("admin:credits_topup_decide", args=[found.pk])
        if grants
        else reverse("top-up", args=[found.pk])
    )
    organization = found.account.organization
    context = {
        "top_up": found,
        "who": people.emails([found.asked_by_id]).get(found.asked_by_id, found.asked_by_id),
        "account": organization.name if organization else "their personal account",
        "grants": grants,
        "link": f"{settings.ROOCLOUD_PUBLIC_URL}{path}",
    }
    _send(
        f"{format_usd(found.amount_nanos)} of credit is asked for", "top_up.txt", context, to=email
    )


def tell_of_answer(*, top_up_id: str) -> None:
    """Mail who asked for credit what became of it."""
    found = TopUp.unscoped.filter(pk=top_up_id).first()
    email = people.email_of(found.asked_by_id) if found else None
    if found is None or email is None:
        return
    link = f"{settings.ROOCLOUD_PUBLIC_URL}{reverse('billing')}"
    subject = f"Your request for {format_usd(found.amount_nanos)} of credit"
    _send(subject, "top_up_answer.txt", {"top_up": found, "link": link}, to=email)


def _send(subject: str, template: str, context: dict[str, object], *, to: str) -> None:
    send_mail(
        f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}{subject}",
        render_to_string(f"credits/mail/{template}", context),
        None,
        [to],
    )
