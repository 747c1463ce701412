"""The pages of imports: where to find one's history, sending it, and what became of each task."""

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import memberships
from accounts.actors import Actor, web_actor
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import Refusal
from tasks_sharing.imports import actions
from tasks_sharing.models import Import, ImportedTask, Task

_TASKS_A_PAGE = 100
_EARLIER = 10


class ArchiveForm(forms.Form):
    archive = forms.FileField(
        label="A zip archive of the folder",
        widget=forms.FileInput(attrs={"accept": ".zip,application/zip"}),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def import_tasks(request: HttpRequest) -> HttpResponse:
    """``/tasks/import``: send an archive; a script makes one of a folder."""
    actor = web_actor(request)
    form = ArchiveForm(request.POST or None, request.FILES or None)
    status = 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                run = actions.start_import(
                    by=actor, upload=form.cleaned_data["archive"], at=timezone.now()
                )
            except Refusal as refusal:
                form.add_error("archive", refusal.message)
                status = refusal.status
            else:
                return redirect("import-report", run.pk)
    context = {
        "form": form,
        "organization_name": _organization_name(actor),
        "earlier": Import.objects.visible_to(actor).order_by("-started_at", "pk")[:_EARLIER],
        "limit": settings.ROOCLOUD_IMPORT_BODY_LIMIT,
        "file_limit": settings.ROOCLOUD_IMPORT_FILE_LIMIT,
    }
    return render(request, "tasks_sharing/import.html", context, status=status)


def _organization_name(actor: Actor) -> str:
    mine = memberships.of(user_id=actor.user_id)
    names = (row.organization_name for row in mine if row.organization_id == actor.organization_id)
    return next(names, "")


@require_safe
@signed_in
def import_report(request: HttpRequest, import_id: str) -> HttpResponse:
    """``/tasks/import/{id}``: how far it is, and what became of each task."""
    actor = web_actor(request)
    mine = Import.objects.visible_to(actor).select_related("organization")
    run = get_object_or_404(mine, pk=import_id)
    tasks = ImportedTask.unscoped.filter(run=run)
    counts = dict(tasks.order_by().values_list("outcome").annotate(count=Count("pk")))
    chosen = request.GET.get("show", "")
    if chosen in ImportedTask.Outcome.values:
        tasks = tasks.filter(outcome=chosen)
    page = Paginator(tasks.order_by("position"), _TASKS_A_PAGE).get_page(request.GET.get("page"))
    known = Task.objects.visible_to(actor).filter(task_id__in={task.task_id for task in page})
    titles = dict(known.values_list("task_id", "title"))
    context = {
        "run": run,
        "finished": sum(counts.values()),
        "counts": [(o.value, o.label, counts.get(o.value, 0)) for o in ImportedTask.Outcome],
        "chosen": chosen,
        "page": page,
        "rows": [(task, titles.get(task.task_id, "")) for task in page],
    }
    return render(request, "tasks_sharing/import_report.html", context)


@require_POST
@signed_in
def cancel_import(request: HttpRequest, import_id: str) -> HttpResponse:
    """Stop an import of mine."""
    actor = web_actor(request)
    run = get_object_or_404(Import.objects.visible_to(actor), pk=import_id)
    if actions.cancel_import(run=run, by=actor, at=timezone.now()):
        messages.success(request, "The import is cancelled. What was imported stays.")
    return redirect("import-report", run.pk)
