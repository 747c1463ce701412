"""The Clerk-compatible routes about organizations (protocol/auth.md §7)."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bearer import ClientTokenView
from orgs import logos
from orgs.models import Logo, Membership, Organization, Role
from roocloud.lib.openapi import OBJECT

_PERMISSIONS = {
    Role.OWNER: ["org:manage", "org:members", "org:use"],
    Role.ADMIN: ["org:manage", "org:members", "org:use"],
    Role.MEMBER: ["org:use"],
    Role.READONLY: [],
}


def _epoch_ms(at: Any) -> int:
    return int(at.timestamp() * 1000)


def _organization(organization: Organization) -> dict[str, Any]:
    """No null, and an image inside: editors block those of other hosts (trap 10)."""
    logo: Logo | None = getattr(organization, "logo", None)
    return {
        "id": organization.pk,
        "name": organization.name,
        "slug": organization.slug,
        "has_image": logo is not None,
        **({"image_url": logos.data_url(logo)} if logo else {}),
        "created_at": _epoch_ms(organization.created_at),
    }


class Memberships(ClientTokenView):
    """``GET /v1/me/organization_memberships``, asked each 5 s while a task streams (trap 9)."""

    @extend_schema(responses=OBJECT)
    def get(self, request: Request) -> Response:
        rows = (
            Membership.unscoped.filter(user_id=self.actor.user_id)
            .select_related("organization__logo")
            .order_by("created_at", "pk")
        )
        response = [
            {
                "id": row.pk,
                "role": row.role,
                "permissions": _PERMISSIONS[Role(row.role)],
                "created_at": _epoch_ms(row.created_at),
                "updated_at": _epoch_ms(row.updated_at),
                "organization": _organization(row.organization),
            }
            for row in rows
        ]
        return Response({"response": response})


class OrganizationRecord(ClientTokenView):
    """``GET /v1/organizations/{id}``: bridge-era editors look for one flag in it (trap 11)."""

    @extend_schema(responses=OBJECT)
    def get(self, request: Request, organization_id: str) -> Response:
        organization = get_object_or_404(
            Organization.objects.visible_to(self.actor).select_related("logo"), pk=organization_id
        )
        body = {
            **_organization(organization),
            "public_metadata": {"extension_bridge_enabled": organization.remote_control},
        }
        return Response({"response": body})
