"""``/account/notifications``: what a person is told, where, and what became of it."""

from django.contrib import messages
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.actors import Actor, web_actor
from notifications import actions, preferences, push, subscriptions
from notifications.forms import PreferencesForm, SubscriptionForm
from notifications.kinds import Channel
from notifications.models import Delivery, Notice
from notifications.preferences import Wishes
from notifications.subscriptions import NewSubscription
from roocloud.lib.access import signed_in
from roocloud.lib.agents import browser_name
from roocloud.lib.refusals import InvalidInput

#: Notifications that the page looks back on.
_RECENT = 20


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def notifications(request: HttpRequest) -> HttpResponse:
    """``/account/notifications``"""
    actor, at = web_actor(request), timezone.now()
    wishes = preferences.of([actor.user_id])[actor.user_id]
    form = PreferencesForm(request.POST or None, wishes=wishes)
    if request.method == "POST" and form.is_valid():
        try:
            preferences.save(user_id=actor.user_id, wishes=form.wishes(), at=at)
        except InvalidInput as refused:
            form.add_error(refused.field, refused.message)
        else:
            messages.success(request, "Saved.")
            return redirect("notifications")
    return _page(request, actor, form, wishes)


def _page(
    request: HttpRequest, actor: Actor, form: PreferencesForm, wishes: Wishes
) -> HttpResponse:
    browsers = subscriptions.standing([actor.user_id], at=timezone.now()).get(actor.user_id, [])
    recent = Notice.objects.visible_to(actor).order_by("-made_at", "-pk")
    mailed = Delivery.unscoped.filter(
        notice__user_id=actor.user_id, channel=Channel.MAIL, state=Delivery.State.SENT
    )
    context = {
        "form": form,
        "mailed_at": mailed.aggregate(last=Max("settled_at"))["last"],
        "wishes": wishes,
        "browsers": browsers,
        "here": request.session.session_key,
        "wants_push": any(channel == Channel.PUSH for _, channel in wishes.choices),
        "recent": recent.prefetch_related("deliveries")[:_RECENT],
        "push_key": push.key().public,
    }
    return render(request, "notifications/notifications.html", context)


@require_POST
@signed_in
def test(request: HttpRequest) -> HttpResponse:
    """Sends something harmless everywhere."""
    actions.send_test(by=web_actor(request), at=timezone.now())
    messages.success(request, "A test is on its way. What becomes of it is listed below.")
    return redirect("notifications")


@require_POST
@signed_in
def subscribe(request: HttpRequest) -> JsonResponse:
    """For the script of the page: this browser takes notifications from now on."""
    form = SubscriptionForm(request.POST)
    if not form.is_valid():
        field, errors = next(iter(form.errors.items()))
        raise InvalidInput(str(errors[0]), field=field)
    data = form.cleaned_data
    row = subscriptions.subscribe(
        by=web_actor(request),
        session_key=request.session.session_key or "",
        new=NewSubscription(data["endpoint"], data["p256dh"], data["auth"]),
        label=browser_name(request.headers.get("User-Agent", "")),
        time_zone=data["time_zone"],
        at=timezone.now(),
    )
    return JsonResponse({"id": row.pk, "label": row.label})


@require_POST
@signed_in
def renew(request: HttpRequest) -> HttpResponse:
    """For the script of a page: this browser was turned on, and is here again."""
    subscriptions.renew(
        by=web_actor(request),
        session_key=request.session.session_key or "",
        endpoint=request.POST.get("endpoint", ""),
    )
    return HttpResponse(status=204)


@require_POST
@signed_in
def unsubscribe(request: HttpRequest, subscription_id: str) -> HttpResponse:
    """A browser takes none any more; it can be turned on again there."""
    subscriptions.unsubscribe(
        subscription_id=subscription_id, by=web_actor(request), at=timezone.now()
    )
    messages.success(request, "That browser gets no more notifications.")
    return redirect("notifications")
