"""The pages of tasks: lists, the task itself, and the share page."""

from collections.abc import AsyncGenerator, Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.actors import web_actor
from roocloud.lib.access import public, signed_in
from roocloud.lib.threads import run_db
from tasks_sharing import (
    access_log,
    bills,
    guard,
    images,
    markup,
    masking,
    news,
    patch,
    previews,
    queries,
)
from tasks_sharing.markup import Part
from tasks_sharing.masking import Masks
from tasks_sharing.models import Message, Share, Task
from tasks_sharing.share_pages import sharing_of
from tasks_sharing.transcript import Transcript

View = Callable[..., HttpResponseBase]


def _guarded(view: View) -> View:
    """The same page for every reason why there is none (J3). Its headers are the middleware's."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except Http404:
            missing = {"status": 404, "title": "Not found"}
            response = render(request, "errors/error.html", missing, status=404)
        return response

    return wrapped


def conversation(request: HttpRequest, transcript: Transcript) -> dict[str, Any]:
    """What the task page and the share page show of a conversation. Templates ask the transcript
    for the parts that the cache does not have."""
    page = transcript.page(request.GET.get("page"), at=request.GET.get("at", ""))
    text = request.GET.get("find", "").replace("\x00", "").strip()[:200]
    return {
        "task": transcript.task,
        "transcript": transcript,
        "span": transcript.span,
        "page": page,
        "window": transcript.window(page),
        "text": text,
        "found": transcript.find(text) if text else [],
    }


def _changes(request: HttpRequest, transcript: Transcript) -> HttpResponse:
    changes = transcript.changes()
    texts = [Part(markup.diff, "".join(patch.lines_of(file)), file.path) for file in changes.files]
    shown = [html for html, _ in markup.render(texts)]
    files = list(zip(changes.files, shown, strict=True))
    return render(
        request,
        "tasks_sharing/changes.html",
        {"task": transcript.task, "transcript": transcript, "changes": changes, "files": files},
    )


_FILES = {"md": "text/markdown", "json": "application/json", "patch": "text/x-patch"}


def _file(transcript: Transcript, form: str) -> HttpResponseBase:
    """The conversation to keep: as Markdown, as the client's JSON, or its edits as a patch."""
    headers = {
        "Content-Type": f"{_FILES[form]}; charset=utf-8",
        "Content-Disposition": f'attachment; filename="task-{transcript.task.task_id}.{form}"',
    }
    if form == "json":
        return StreamingHttpResponse(_json(transcript), headers=headers)
    site = settings.ROOCLOUD_PUBLIC_URL
    pieces = transcript.as_patch(site=site) if form == "patch" else transcript.as_markdown()
    return HttpResponse("".join(pieces).encode("utf-8", "replace"), headers=headers)


async def _json(transcript: Transcript) -> AsyncGenerator[str, None]:
    """In batches on the bounded pool: what is read slowly holds no connection."""
    start, between = 0, "["
    while lines := await run_db(transcript.json_lines, start):
        yield between + "\n" + ",\n".join(lines)
        start, between = start + len(lines), ","
    yield "\n]\n" if start else "[]\n"


def _opened(request: HttpRequest, task_id: str) -> Task:
    found = queries.find_task(task_id=task_id, viewer_id=web_actor(request).user_id)
    if found is None:
        raise Http404
    return found


def _followed(request: HttpRequest, token: str) -> Share | None:
    found = queries.find_share(token)
    viewer_id = request.user.pk if request.user.is_authenticated else None
    if found is None or not queries.may_follow(found, viewer_id=viewer_id, at=timezone.now()):
        return None
    return found


def _image(task: Task, message_id: int, index: int, masks: Masks = masking.NONE) -> HttpResponse:
    """An image that somebody attached: its bytes, under a type that the bytes themselves show."""
    row = Message.unscoped.filter(task=task, pk=message_id).select_related("task").first()
    found = images.find(masks.message(row), index) if row else None
    if found is not None and masks.is_public:
        found = images.bared(found)
    if found is None:
        raise Http404
    return HttpResponse(bytes(found.data), content_type=found.content_type)


@_guarded
@require_safe
@signed_in
def task_image(request: HttpRequest, task_id: str, message_id: int, index: int) -> HttpResponse:
    """``/task/{id}/image/{message}/{n}``: for whoever may open the task at this moment (J2)."""
    return _image(_opened(request, task_id), message_id, index)


@_guarded
@require_safe
@public(reason="an image of a shared page, for whoever may see that; who may is decided inside")
def share_image(request: HttpRequest, token: str, message_id: int, index: int) -> HttpResponse:
    """``/share/{token}/image/{message}/{n}``: for whoever may follow the link at this moment."""
    found = _followed(request, token)
    if found is None:
        raise Http404
    return _image(found.task, message_id, index, guard.masks_for(found, at=timezone.now()))


def _picture(share: Share, transcript: Transcript) -> HttpResponse:
    """What chats show of a public link. transcript: as masked as on the page."""
    if share.visibility != Share.Visibility.PUBLIC:
        raise Http404
    card = previews.card_of(transcript, product=settings.ROOCLOUD_PRODUCT_NAME)
    return HttpResponse(previews.picture(card), content_type="image/png")


@_guarded
@require_safe
@signed_in
def task(request: HttpRequest, task_id: str) -> HttpResponse:
    """``/task/{id}``, by the client's own id: the owner's page, and by policy a colleague's."""
    found = _opened(request, task_id)
    is_mine = found.owner_id == web_actor(request).user_id
    context = conversation(request, news.transcript_of(found))
    context["bill"] = bills.of(owner_id=found.owner_id, task_id=found.task_id)
    context["is_mine"] = is_mine
    context["is_live"] = news.may_come(found, at=timezone.now()) and not context["text"]
    if is_mine:
        context["sharing"] = sharing_of(found, at=timezone.now())
    return render(request, "tasks_sharing/task.html", context)


@_guarded
@require_safe
@signed_in
def task_news(request: HttpRequest, task_id: str) -> HttpResponse:
    """``/task/{id}/news?page=2&known=…&whole=1``: what a page lacks that follows the task. known:
    versions of the blocks that it has of the window; whole: with what is beside them."""
    found = _opened(request, task_id)
    transcript = news.transcript_of(found)
    known = news.known_in(request.GET.get("known", ""))
    fresh = news.news(transcript, request.GET.get("page", ""), known)
    context = {
        "task": transcript.task,
        "transcript": transcript,
        "span": transcript.span,
        "page": fresh.page,
        "news": fresh,
        "bill": bills.of(owner_id=found.owner_id, task_id=found.task_id),
        "is_mine": found.owner_id == request.user.pk,
        "is_whole": bool(request.GET.get("whole")),
    }
    return render(request, "tasks_sharing/_news.html", context)


@_guarded
@require_safe
@signed_in
def task_changes(request: HttpRequest, task_id: str) -> HttpResponse:
    """``/task/{id}/changes``: what became of each file."""
    return _changes(request, news.transcript_of(_opened(request, task_id)))


@_guarded
@require_safe
@signed_in
def task_file(request: HttpRequest, task_id: str, form: str) -> HttpResponseBase:
    """``/task/{id}.md``, ``.json``, ``.patch``"""
    return _file(news.transcript_of(_opened(request, task_id)), form)


@_guarded
@require_safe
@public(reason="a share link is for people without an account; who may see is decided inside")
def share(request: HttpRequest, token: str, form: str = "") -> HttpResponseBase:
    """``/share/{token}``, and ``/changes``, ``/preview.png``, ``.md``, ``.json`` and ``.patch`` of
    it: one decision for whatever form is asked for. Unknown, revoked, expired and forbidden look
    the same (J3); a link for an organization sends a signed-out visitor through the sign-in page,
    like every unknown link."""
    found = _followed(request, token)
    if found is None:
        if not request.user.is_authenticated:
            return render(request, "tasks_sharing/share_closed.html", status=404)
        raise Http404
    masks = guard.masks_for(found, at=timezone.now())
    transcript = Transcript(found.task, path=reverse("share", args=[token]), masks=masks)
    if form == "preview":
        return _picture(found, transcript)
    response = _shared(request, found, transcript, form)
    access_log.note(request, response, found, form)
    return response


def _shared(
    request: HttpRequest, share: Share, transcript: Transcript, form: str
) -> HttpResponseBase:
    if form:
        return _changes(request, transcript) if form == "changes" else _file(transcript, form)
    is_mine = request.user.is_authenticated and share.task.owner_id == request.user.pk
    mine = Share.unscoped.with_views().get(pk=share.pk) if is_mine else None
    context = {**conversation(request, transcript), "share": share, "mine": mine}
    context["site"] = settings.ROOCLOUD_PUBLIC_URL
    context["bill"] = bills.of(owner_id=share.task.owner_id, task_id=share.task.task_id)
    return render(request, "tasks_sharing/share.html", context)
