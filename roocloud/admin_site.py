"""The Django admin as the site administrator's cockpit."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from allauth.account.decorators import secure_admin_login
from allauth.account.utils import get_next_redirect_url
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator

from accounts import second_factors
from roocloud.dashboard import figures

if TYPE_CHECKING:
    from accounts.models import User


class RooCloudAdminSite(AdminSite):
    index_template = "admin/dashboard.html"
    enable_nav_sidebar = True

    @property
    def site_header(self) -> str:  # type: ignore[override]  # a setting, read when it is shown
        return f"{settings.ROOCLOUD_PRODUCT_NAME} administration"

    @property
    def site_title(self) -> str:  # type: ignore[override]  # the same
        return str(settings.ROOCLOUD_PRODUCT_NAME)

    def has_permission(self, request: HttpRequest) -> bool:
        """Staff alone, with a second factor (L4)."""
        return super().has_permission(request) and not self._lacks_factor(request)

    def _lacks_factor(self, request: HttpRequest) -> bool:
        user: User = request.user  # type: ignore[assignment]  # of staff
        return settings.ROOCLOUD_STAFF_MFA and not second_factors.is_proven(request, user)

    @method_decorator(secure_admin_login)
    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The product's own sign-in, so that second factors and rate limits count here too; and for
        staff who have not shown a second factor, the page where they do, or add one."""
        if not self._lacks_factor(request):
            return super().login(request, extra_context)
        messages.warning(request, "The administration needs a second factor.")
        following = urlencode({"next": get_next_redirect_url(request) or reverse("admin:index")})
        return redirect(f"{second_factors.page(request.user)}?{following}")  # type: ignore[arg-type]  # of staff

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """The first page: is all well?"""
        context = {"figures": figures(at=timezone.now()), **(extra_context or {})}
        return super().index(request, context)
