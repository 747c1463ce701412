"""The pages of budgets: what is spent of each, and for who may set them, how to."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import model_choices
from accounts.actors import Actor, web_actor
from credits import actions, budgets, overview, policy, queries
from credits.forms import BudgetForm, LimitForm
from credits.models import Budget
from orgs import queries as orgs
from roocloud.lib.access import signed_in
from roocloud.lib.money import format_usd, nanos_to_plain_usd
from roocloud.lib.refusals import Forbidden


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def all_budgets(request: HttpRequest) -> HttpResponse:
    """``/budgets``: those of the present context, and one more. ``?for=member:user_…`` chooses what
    the new one limits."""
    actor = web_actor(request)
    if not policy.may_decide(actor):
        if request.method == "POST":
            raise Forbidden("Only an admin of the organization sets budgets")
        return _page(request, actor, None)
    form = BudgetForm(
        request.POST if request.method == "POST" else None,
        initial={"what": request.GET.get("for", "account")},
        members=orgs.people(actor.organization_id) if actor.organization_id else (),
        models=model_choices.of(actor),
    )
    if request.method != "POST" or not form.is_valid():
        return _page(request, actor, form)
    at = timezone.now()
    scope, subject = form.cleaned_data["what"]
    budget = budgets.put_budget(
        by=actor,
        account=actions.account_of(
            user_id=actor.user_id, organization_id=actor.organization_id, at=at
        ),
        scope=scope,
        subject=subject,
        period=form.cleaned_data["period"],
        limit_nanos=form.cleaned_data["limit"],
        at=at,
    )
    messages.success(request, f"The limit is {_in_words(budget)}.")
    return redirect("budgets")


def _page(request: HttpRequest, actor: Actor, form: BudgetForm | None) -> HttpResponse:
    context = {
        "actor": actor,
        "form": form,
        "credit": queries.standing(actor),
        "budgets": overview.touching(actor, at=timezone.now()),
    }
    return render(request, "credits/budgets.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def budget(request: HttpRequest, budget_id: str) -> HttpResponse:
    """``/budgets/{id}``: change its limit."""
    actor, found = _enter(request, budget_id)
    form = LimitForm(
        request.POST if request.method == "POST" else None,
        initial={"limit": nanos_to_plain_usd(found.limit_nanos)},
    )
    if request.method == "POST" and form.is_valid():
        changed = budgets.put_budget(
            by=actor,
            account=found.account,
            scope=found.scope,
            subject=found.subject,
            period=found.period,
            limit_nanos=form.cleaned_data["limit"],
            at=timezone.now(),
        )
        messages.success(request, f"The limit is {_in_words(changed)}.")
        return redirect("budgets")
    context = {"budget": found, "name": overview.name_of(found), "form": form}
    return render(request, "credits/budget.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def remove_budget(request: HttpRequest, budget_id: str) -> HttpResponse:
    """Ask, then remove a budget."""
    actor, found = _enter(request, budget_id)
    if request.method == "POST":
        budgets.remove_budget(by=actor, budget_id=found.pk, at=timezone.now())
        messages.success(request, "The budget is removed. Others still count.")
        return redirect("budgets")
    context = {"budget": found, "name": overview.name_of(found)}
    return render(request, "credits/remove_budget.html", context)


def _enter(request: HttpRequest, budget_id: str) -> tuple[Actor, Budget]:
    """A budget that the person may set; 404 for those of others, as for unknown ids."""
    actor = web_actor(request)
    rows = Budget.objects.visible_to(actor).select_related("account")
    found = get_object_or_404(rows, pk=budget_id)
    if not policy.may_decide(actor):
        raise Forbidden("Only an admin of the organization sets budgets")
    return actor, found


def _in_words(found: Budget) -> str:
    return f"{format_usd(found.limit_nanos)} {found.get_period_display()}"
