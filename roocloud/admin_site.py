"""The Django admin as the site administrator's cockpit."""

from typing import Any

from allauth.account.decorators import secure_admin_login
from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.decorators import method_decorator

from roocloud.dashboard import figures


class RooCloudAdminSite(AdminSite):
    index_template = "admin/dashboard.html"
    enable_nav_sidebar = True

    @property
    def site_header(self) -> str:  # type: ignore[override]  # a setting, read when it is shown
        return f"{settings.ROOCLOUD_PRODUCT_NAME} administration"

    @property
    def site_title(self) -> str:  # type: ignore[override]  # the same
        return str(settings.ROOCLOUD_PRODUCT_NAME)

    # The product's own sign-in, so that second factors and rate limits count here too.
    login = method_decorator(secure_admin_login)(AdminSite.login)

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """The first page: is all well?"""
        context = {"figures": figures(at=timezone.now()), **(extra_context or {})}
        return super().index(request, context)
