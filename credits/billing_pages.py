"""The pages of billing: credit and what moves it, statements, and asking for more."""

from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import queries as people
from accounts.actors import Actor, web_actor
from audit import actions as audit
from credits import ledger, overview, payments, policy, queries, top_ups
from credits.forms import AnswerForm, AskForm, LedgerForm, PayForm
from credits.models import TopUp
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import Forbidden, Refusal
from roocloud.lib.spreadsheets import csv_lines
from roocloud.lib.threads import run_db

#: What the first page shows of each list.
_NEWEST = 8
#: Budgets with their bars, the fullest first.
_FULLEST = 5


@require_safe
@signed_in
def billing(request: HttpRequest) -> HttpResponse:
    """``/billing``: the credit of the present context, what is set aside of it, what limits it, and
    for who decides over it the newest lines of its ledger."""
    actor, at = web_actor(request), timezone.now()
    touching = overview.touching(actor, at=at)
    lines, _ = ledger.page(actor, ledger.Filters(), before="")
    requests = list(TopUp.objects.visible_to(actor).order_by("-asked_at", "pk")[:_NEWEST])
    context = {
        "actor": actor,
        "may_decide": policy.may_decide(actor),
        "may_ask": policy.may_ask(actor),
        "pays": payments.may_pay(actor),
        "is_paid": request.GET.get("paid") == "yes",
        "may_grant": request.user.has_perm(policy.GRANT) and actor.is_staff,
        "credit": queries.standing(actor),
        "tight": overview.tight_of(touching),
        "budgets": overview.fullest(touching)[:_FULLEST],
        "in_flight": ledger.in_flight(actor),
        "lines": lines[:_NEWEST],
        "months": ledger.months(actor, at=at),
        "requests": requests,
        "names": people.names({one.asked_by_id for one in requests}),
        "is_waiting": any(
            one.state == TopUp.State.ASKED and one.asked_by_id == actor.user_id for one in requests
        ),
    }
    return render(request, "credits/billing.html", context)


@require_safe
@signed_in
def ledger_page(request: HttpRequest) -> HttpResponse:
    """``/billing/ledger``: every line, by what and when."""
    actor = _decides(request)
    form = LedgerForm(request.GET)
    filters = form.filters()
    lines, following = ledger.page(actor, filters, before=request.GET.get("before", ""))
    context = {
        "form": form,
        "filters": filters,
        "is_narrowed": filters != ledger.Filters(),
        "lines": lines,
        "following": following,
        "credit": queries.standing(actor),
    }
    return render(request, "credits/ledger.html", context)


@require_safe
@signed_in
def statement(request: HttpRequest, month: str) -> HttpResponse:
    """``/billing/statements/2026-11``, which prints on paper."""
    actor = _decides(request)
    at = timezone.now()
    first = _month(actor, month, at=at)
    context = {
        "actor": actor,
        "statement": ledger.statement(actor, first),
        "account": queries.account_name(actor),
        "is_over": first != _this_month(at),
        "made_at": at,
    }
    return render(request, "credits/statement.html", context)


@require_safe
@signed_in
def statement_csv(request: HttpRequest, month: str) -> StreamingHttpResponse:
    """The same with every line, streamed."""
    actor = _decides(request)
    at = timezone.now()
    first = _month(actor, month, at=at)
    audit.record(
        action="ledger.exported", actor=actor, target_kind="statement", target_id=month, at=at
    )

    async def lines() -> AsyncGenerator[str, None]:
        opening, balance = await run_db(ledger.opening_line, actor, first)
        yield csv_lines([ledger.EXPORT_HEADER, opening])
        after, is_more = "", True
        while is_more:
            # In batches on the bounded pool: an export that is read slowly holds no connection.
            batch, balance, after = await run_db(
                ledger.export, actor, first, balance_nanos=balance, after=after
            )
            yield csv_lines(batch)
            is_more = bool(after)
        yield csv_lines([ledger.closing_line(first, balance)])

    return StreamingHttpResponse(
        lines(),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="statement-{month}.csv"',
            "Cache-Control": "no-store",
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def ask(request: HttpRequest) -> HttpResponse:
    """``/billing/ask``: for credit. ``?amount=25`` fills it in."""
    actor = web_actor(request)
    if not policy.may_ask(actor):
        raise Forbidden("Read-only members do not spend credit, so they do not ask for it")
    is_sent = request.method == "POST"
    form = AskForm(request.POST if is_sent else None, initial={"amount": request.GET.get("amount")})
    if is_sent and form.is_valid():
        given = form.cleaned_data
        try:
            top_ups.ask(
                by=actor,
                amount_nanos=given["amount"],
                reason=given["reason"],
                key=given["key"],
                at=timezone.now(),
            )
        except Refusal as refusal:
            form.add_error(refusal.field, refusal.message)
        else:
            messages.success(
                request, "You have asked. You get the answer by mail, and see it here."
            )
            return redirect("billing")
    status = 409 if is_sent and form.non_field_errors() else 200
    return render(request, "credits/ask.html", {"form": form, "actor": actor}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def pay(request: HttpRequest) -> HttpResponse:
    """``/billing/pay``: choose an amount, then pay it at Stripe. Not there where that is off."""
    if not payments.is_on():
        raise Http404
    actor = web_actor(request)
    if not payments.may_pay(actor):
        raise Forbidden("Owners and admins of the organization add credit")
    form = PayForm(request.POST or None)
    status = 200
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            page = payments.begin(
                by=actor, amount_nanos=given["amount"], key=given["key"], at=timezone.now()
            )
            return redirect(page)
        except Refusal as refusal:
            form.add_error(refusal.field, refusal.message)
            status = refusal.status if refusal.status >= 500 else 200
    context = {"form": form, "account": queries.account_name(actor)}
    return render(request, "credits/pay.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def top_up(request: HttpRequest, top_up_id: str) -> HttpResponse:
    """``/billing/requests/{id}``: what was asked for and answered; owners and admins decline."""
    actor = web_actor(request)
    found = get_object_or_404(TopUp.objects.visible_to(actor), pk=top_up_id)
    declines = actor.organization_id is not None and policy.may_decide(actor)
    form = AnswerForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        is_new = top_ups.decline(
            by=actor,
            top_up_id=found.pk,
            answer=form.cleaned_data["answer"],
            at=timezone.now(),
        )
        messages.success(request, "The request is declined." if is_new else "Declined before.")
        return redirect("billing")
    names = people.names({found.asked_by_id, found.decided_by_id} - {""})
    context = {
        "top_up": found,
        "who": names.get(found.asked_by_id, found.asked_by_id),
        "decider": names.get(found.decided_by_id, ""),
        "form": form if declines and found.state == TopUp.State.ASKED else None,
        "grants": top_ups.may_grant(actor) and found.state == TopUp.State.ASKED,
        "budget_link": urlencode({"for": f"member:{found.asked_by_id}"}),
    }
    return render(request, "credits/top_up.html", context)


def _decides(request: HttpRequest) -> Actor:
    """Who sees the ledger of the present context."""
    actor = web_actor(request)
    if not policy.may_decide(actor):
        raise Forbidden("The ledger is for owners and admins of the organization")
    return actor


def _month(actor: Actor, text: str, *, at: datetime) -> date:
    """One that has a statement; 404 for others."""
    found = ledger.read_month(text)
    if found is None or found not in {_this_month(at), *ledger.months(actor, at=at)}:
        raise Http404
    return found


def _this_month(at: datetime) -> date:
    return at.astimezone(UTC).date().replace(day=1)
