"""What admin classes share."""

from typing import Any, TypeVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

M = TypeVar("M", bound=models.Model)


class ReadOnlyAdmin(admin.ModelAdmin[M]):
    """To look, filter and search. What may be changed is an action that calls a rule."""

    show_full_result_count = False  # a COUNT(*) over a large table holds the page up
    list_per_page = 50

    def has_act_permission(self, request: HttpRequest) -> bool:
        """For actions: to look at a row is not to do something with it (A2)."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
