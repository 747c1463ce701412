"""``GET /proxy/v1/models`` (protocol/proxy.md §3)."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bearer import (
    PROXY_KINDS,
    Origin,
    PublicApiView,
    authenticate,
    bearer_value,
    presented,
)
from proxy import queries
from roocloud.lib.access import Access
from roocloud.lib.addresses import client_address, network_of
from roocloud.lib.openapi import OBJECT
from roocloud.lib.refusals import Unauthenticated


class Models(PublicApiView):
    """The list is public, because signed-out editors and the command line ask without credentials;
    with a token it is the person's own (trap 28)."""

    access = Access("public", "clients ask for the list before they sign in")

    @extend_schema(responses=OBJECT)
    def get(self, request: Request) -> Response:
        at = timezone.now()
        header = presented(request.headers.get("Authorization"), request.headers.get("X-Api-Key"))
        actor = None
        if bearer_value(header) is not None:
            try:
                actor = authenticate(header, at=at, kinds=PROXY_KINDS, origin=_origin(request))
            except Unauthenticated:
                actor = None  # an old token must not empty the model picker
        body = {"object": "list", "data": queries.models(actor, at=at)}
        return Response(body, headers={"Cache-Control": "private, no-cache"})


def _origin(request: Request) -> Origin:
    peer = request.META.get("REMOTE_ADDR", "")
    address = client_address(peer, request.headers.get("X-Forwarded-For", ""))
    return Origin(network_of(address), request.headers.get("User-Agent", ""))
