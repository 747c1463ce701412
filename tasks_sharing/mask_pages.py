"""What the public gets to see of a task: its author reads it first, and masks more or less."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_http_methods, require_POST

from accounts.actors import web_actor
from roocloud.lib.access import signed_in
from roocloud.lib.refusals import InvalidInput
from tasks_sharing import guard, masking
from tasks_sharing.conversation import anchor_of
from tasks_sharing.forms import MaskFileForm, MaskTextForm
from tasks_sharing.models import Mask, Message, Share, Task
from tasks_sharing.pages import conversation
from tasks_sharing.share_pages import make_link, sharing_of
from tasks_sharing.transcript import Transcript


def _mine(request: HttpRequest, task_id: str) -> Task:
    rows = Task.objects.visible_to(web_actor(request)).select_related("owner", "organization")
    return get_object_or_404(rows, task_id=task_id)


@cache_control(no_store=True)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def public_view(request: HttpRequest, task_id: str) -> HttpResponseBase:
    """``/task/{id}/public``: the task as a public link shows it, before there is one and after.
    POST makes the link."""
    found = _mine(request, task_id)
    if request.method == "POST":
        make_link(request, found, Share.Visibility.PUBLIC)
        return redirect("public-view", found.task_id)
    return _page(request, found, MaskTextForm(), MaskFileForm())


def _page(
    request: HttpRequest, task: Task, text_form: MaskTextForm, file_form: MaskFileForm
) -> HttpResponse:
    at = timezone.now()
    guard.scan(task, at=at)
    transcript = Transcript(
        task, path=reverse("public-view", args=[task.task_id]), masks=guard.masks_of(task)
    )
    masks = task.masks.order_by("message_ts", "created_at", "kind", "number")
    place_of = _places(task)
    sharing = sharing_of(task, at=at)
    offer = next(o for o in sharing.offers if o.visibility == Share.Visibility.PUBLIC)
    context = {
        **conversation(request, transcript),
        "standing": [_Row(mask, place_of) for mask in masks if mask.lifted_at is None],
        "lifted": [_Row(mask, place_of) for mask in masks if mask.lifted_at is not None],
        "offer": offer,
        "lifetime_form": sharing.form,
        "text_form": text_form,
        "file_form": file_form,
        "is_public_view": True,
    }
    context["hidden"] = {
        row.message_id for row in context["standing"] if row.mask.scope == Mask.Scope.MESSAGE
    }
    context["files"] = sorted(
        {path for row in context["window"].messages for path in masking.paths(row)}
    )
    return render(request, "tasks_sharing/public_view.html", context)


class _Row:
    """A mask on the page. where: the address of its message on this page; empty if it is gone."""

    def __init__(self, mask: Mask, place_of: dict[masking.Place, tuple[int, str]]) -> None:
        self.mask = mask
        self.token = masking.token(mask.kind, mask.number)
        self.beginning = guard.beginning(mask)
        place = mask.message_ts, mask.message_type, mask.message_kind
        self.message_id, self.where = place_of.get(place, (0, ""))


def _places(task: Task) -> dict[masking.Place, tuple[int, str]]:
    """The id and the address of each message."""
    rows = task.messages.only("pk", "ts", "type", "kind")
    return {
        (row.ts, row.type, row.kind): (row.pk, f"?at={row.ts}#{anchor_of(row.ts, row.kind)}")
        for row in rows
    }


@cache_control(no_store=True)
@require_POST
@signed_in
def mask_text(request: HttpRequest, task_id: str) -> HttpResponseBase:
    """Mask a text wherever it stands."""
    found = _mine(request, task_id)
    form = MaskTextForm(request.POST)
    if form.is_valid():
        try:
            mask = guard.mask_text(
                task=found,
                text=form.cleaned_data["text"],
                by=web_actor(request),
                at=timezone.now(),
            )
        except InvalidInput as refused:
            form.add_error("text", refused.message)
        else:
            return _done(request, mask)
    return _page(request, found, form, MaskFileForm())


@cache_control(no_store=True)
@require_POST
@signed_in
def mask_file(request: HttpRequest, task_id: str) -> HttpResponseBase:
    """Mask what tools say of a file."""
    found = _mine(request, task_id)
    form = MaskFileForm(request.POST)
    if form.is_valid():
        try:
            mask = guard.mask_file(
                task=found,
                path=form.cleaned_data["file"],
                by=web_actor(request),
                at=timezone.now(),
            )
        except InvalidInput as refused:
            form.add_error("file", refused.message)
        else:
            return _done(request, mask)
    return _page(request, found, MaskTextForm(), form)


@require_POST
@signed_in
def hide_message(request: HttpRequest, task_id: str, message_id: int) -> HttpResponseBase:
    """Hide a message with its images."""
    rows = Message.unscoped.filter(task=_mine(request, task_id)).select_related("task")
    found = get_object_or_404(rows, pk=message_id)
    return _done(
        request, guard.hide_message(message=found, by=web_actor(request), at=timezone.now())
    )


@require_POST
@signed_in
def mask_emails(request: HttpRequest, task_id: str) -> HttpResponseBase:
    """Mask all e-mail addresses (``on``), or none (``off``)."""
    found, on = _mine(request, task_id), request.POST.get("emails") == "on"
    guard.mask_emails(task=found, on=on, by=web_actor(request), at=timezone.now())
    messages.success(
        request, "E-mail addresses are masked." if on else "E-mail addresses are shown."
    )
    return redirect("public-view", found.task_id)


def _done(request: HttpRequest, mask: Mask) -> HttpResponse:
    messages.success(request, f"Readers now see {masking.token(mask.kind, mask.number)} instead.")
    return redirect("public-view", mask.task.task_id)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def lift_mask(request: HttpRequest, mask_id: str) -> HttpResponseBase:
    """Ask, then show what a mask hides."""
    actor = web_actor(request)
    found = get_object_or_404(Mask.objects.visible_to(actor).select_related("task"), pk=mask_id)
    if request.method == "POST":
        guard.lift(mask=found, by=actor, at=timezone.now())
        messages.success(request, "Readers of the public link see it now.")
        return redirect("public-view", found.task.task_id)
    row = _Row(found, {})
    return render(request, "tasks_sharing/lift_mask.html", {"row": row, "task": found.task})


@require_POST
@signed_in
def put_back_mask(request: HttpRequest, mask_id: str) -> HttpResponseBase:
    """Hide again what a lifted mask hid."""
    actor = web_actor(request)
    found = get_object_or_404(Mask.objects.visible_to(actor).select_related("task"), pk=mask_id)
    guard.put_back(mask=found, by=actor, at=timezone.now())
    return _done(request, found)
