"""Who opened a link: noted when the reader has the answer, so that nobody waits for it."""

import logging

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from accounts import memberships
from roocloud.lib.addresses import client_address, network_of
from tasks_sharing import actions
from tasks_sharing.models import Share, ShareView

logger = logging.getLogger(__name__)


def note(request: HttpRequest, response: HttpResponseBase, share: Share, form: str) -> None:
    """Let the end of the response note its reader. form: of the conversation, as in the address.
    Not noted: the owner's own visits, and requests for the headers alone."""
    if request.method != "GET" or response.status_code != 200:
        return
    viewer_id = request.user.pk if request.user.is_authenticated else ""
    if viewer_id == share.task.owner_id:
        return
    forwarded = request.headers.get("X-Forwarded-For", "")
    network = network_of(client_address(request.META.get("REMOTE_ADDR", ""), forwarded))
    close = response.close

    def closing() -> None:
        try:
            _note(share, viewer_id, network, form)
        finally:
            close()

    # Servers close a response after its last byte, off the event loop and before the connection to
    # the database goes back.
    response.close = closing  # type: ignore[method-assign]


def _note(share: Share, viewer_id: str, network: str, form: str) -> None:
    organization_id = share.task.organization_id
    try:
        is_member = (
            viewer_id
            and organization_id
            and memberships.role_of(user_id=viewer_id, organization_id=organization_id)
        )
        actions.note_view(
            share_id=share.pk,
            viewer_id=viewer_id if is_member else "",
            network=network,
            form=form if form in ShareView.Form.values else ShareView.Form.PAGE,
            at=timezone.now(),
        )
    except DatabaseError:
        logger.warning("A view was not noted", extra={"share_id": share.pk}, exc_info=True)
