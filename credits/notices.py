"""Mail about money."""

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.utils import timezone

from accounts import api_keys
from accounts import queries as people
from credits import budgets
from credits.models import Budget, BudgetSpan
from orgs import queries as orgs


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


def tell_of_budget(*, span_id: int, user_id: str) -> None:
    """Mail one person that a budget is nearly used up."""
    span = BudgetSpan.unscoped.filter(pk=span_id).select_related("budget").first()
    email = people.email_of(user_id)
    if span is None or email is None:
        return
    budget = span.budget
    context = {
        "budget": budget,
        "span": span,
        "kind": budgets.describe(budget),
        "until": budgets.ends_on(budget.period, timezone.now()),
        "link": f"{settings.ROOCLOUD_PUBLIC_URL}/budgets",
    }
    send_mail(
        f"{settings.ACCOUNT_EMAIL_SUBJECT_PREFIX}A {budgets.describe(budget)} is nearly used up",
        render_to_string("credits/mail/budget.txt", context),
        None,
        [email],
    )
