"""Every route, by the room that answers it. ``roocloud.asgi`` routes completions before these."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView

from roocloud import audit_pages, links
from roocloud.health import health
from roocloud.home import check_connection, connect, home
from roocloud.metrics import admin_metrics, metrics

urlpatterns = [
    path("", home, name="home"),
    path("connect", connect, name="connect"),
    path("connect/check", check_connection, name="check-connection"),
    path("health", health),
    path("metrics", metrics),
    path("api/admin/metrics", admin_metrics),
    path("api/docs/openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(url_name="openapi"), name="api-docs"),
    path("admin/", admin.site.urls),
    path("audit", audit_pages.trail, name="audit"),
    path("audit.<str:form>", audit_pages.export, name="audit-export"),
    path(
        "organizations/<str:organization_id>/audit",
        audit_pages.organization_trail,
        name="organization-audit",
    ),
    path(
        "organizations/<str:organization_id>/audit.<str:form>",
        audit_pages.organization_export,
        name="organization-audit-export",
    ),
    path("sign-in", links.to_home),
    path("sign-up", links.to_sign_up),
    path("checkout/team", links.to_organizations),
    path("cloud-agents/setup", links.to_home),
    path("api/cloud-agents", links.CloudAgents.as_view()),
    path("accounts/sessions/", links.to_devices),
    path("accounts/", include("allauth.urls")),
    path("", include("accounts.urls")),
    path("", include("notifications.urls")),
    path("", include("orgs.urls")),
    path("", include("credits.urls")),
    path("", include("proxy.urls")),
    path("", include("tasks_sharing.urls")),
    path("", include("telemetry.urls")),
    path("", include("bridge.urls")),
]

handler400 = "roocloud.errors.bad_request"
handler403 = "roocloud.errors.forbidden"
handler404 = "roocloud.errors.not_found"
handler500 = "roocloud.errors.server_error"
