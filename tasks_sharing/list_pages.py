"""The pages of the list of tasks: filters, search, export, deletion."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from django.contrib import messages
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    QueryDict,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.actors import web_actor
from orgs import queries as orgs
from roocloud.lib.access import signed_in
from roocloud.lib.threads import run_db
from tasks_sharing import actions, export, listing, queries
from tasks_sharing.forms import TaskFilterForm
from tasks_sharing.listing import Filters
from tasks_sharing.models import Task
from tasks_sharing.queries import Sight


@dataclass(frozen=True, slots=True)
class _Asked:
    """is_team: the team's were asked for, whatever may be seen of them."""

    sight: Sight
    is_team: bool
    form: TaskFilterForm
    filters: Filters


def _asked(request: HttpRequest) -> _Asked:
    actor = web_actor(request)
    is_team = request.GET.get("of") == "team" and actor.organization_id is not None
    sight = queries.sight(actor, is_team=is_team)
    form = TaskFilterForm(
        request.GET,
        members=orgs.people(actor.organization_id or "") if sight.is_team else [],
    )
    return _Asked(sight, is_team, form, form.filters())


def _without(query: QueryDict, names: tuple[str, ...]) -> str:
    rest = query.copy()
    for name in names:
        rest.pop(name, None)
    return rest.urlencode()


@require_safe
@signed_in
def tasks(request: HttpRequest) -> HttpResponse:
    """``/tasks``: mine, or by policy those of the organization."""
    asked = _asked(request)
    after = request.GET.get("after", "")
    page = listing.listed(asked.sight, asked.filters, after=after)
    asked.form.suggest(page.tasks)
    context = {
        "sight": asked.sight,
        "form": asked.form,
        "filters": asked.filters,
        "wants_team": asked.is_team,
        "page": page,
        "after": after,
        "query": _without(request.GET, ("after", "task", "chosen")),
    }
    return render(request, "tasks_sharing/tasks.html", context)


@require_safe
@signed_in
def export_tasks(request: HttpRequest) -> HttpResponseBase:
    """``/tasks/export``: the chosen tasks, else all that the filters leave, as far as their
    conversations are the person's to read: a line of JSON each, streamed."""
    asked = _asked(request)
    pks = request.GET.getlist("task")
    if "chosen" in request.GET and not pks:
        messages.info(request, "Choose tasks first.")
        return redirect("tasks")
    export.note(by=asked.sight.actor, is_team=asked.is_team, at=timezone.now())

    async def pieces() -> AsyncGenerator[str, None]:
        after: str | None = ""
        while after is not None:
            # In batches on the bounded pool: an export that is read slowly holds no connection.
            found, after = await run_db(
                export.batch,
                asked.sight.actor,
                asked.filters,
                is_team=asked.is_team,
                after=after,
                pks=pks,
            )
            for task in found:
                yield export.opening(task)
                start = 0
                while lines := await run_db(export.lines, task, start):
                    yield (", " if start else "") + ", ".join(lines)
                    start += len(lines)
                yield export.CLOSING

    return StreamingHttpResponse(
        pieces(),
        content_type="application/x-ndjson; charset=utf-8",
        headers={
            "Content-Disposition": 'attachment; filename="tasks.ndjson"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def delete_tasks(request: HttpRequest) -> HttpResponse:
    """``/tasks/delete``: ask, then delete the chosen tasks, as far as they are the person's own."""
    actor = web_actor(request)
    asked = request.POST if request.method == "POST" else request.GET
    pks = asked.getlist("task")
    found = list(listing.chosen(actor, pks))
    if request.method == "POST":
        for task in found:
            actions.delete_task(task=task, by=actor, at=timezone.now())
        one = (
            "The task and its links are"
            if len(found) == 1
            else f"{len(found)} tasks and their links are"
        )
        messages.success(request, f"{one} deleted." if found else "Nothing was deleted.")
        return redirect("tasks")
    context = {
        "tasks": found,
        "others": len(set(pks)) - len(found),
        "shares": listing.live_shares(found, at=timezone.now()),
    }
    return render(request, "tasks_sharing/delete_tasks.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def delete_task(request: HttpRequest, task_id: str) -> HttpResponse:
    """Ask, then delete one of my tasks."""
    actor = web_actor(request)
    found = get_object_or_404(Task.objects.visible_to(actor), task_id=task_id)
    if request.method == "POST":
        actions.delete_task(task=found, by=actor, at=timezone.now())
        messages.success(request, "The task and its links are deleted.")
        return redirect("tasks")
    return render(request, "tasks_sharing/delete_task.html", {"task": found})
