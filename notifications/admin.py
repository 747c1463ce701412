"""What was sent, to look at. No page shows where a browser is reached, or with which keys."""

from django.contrib import admin

from notifications.models import Delivery, Notice, Subscription
from roocloud.lib.admin import ReadOnlyAdmin


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin[Notice]):
    list_display = ("made_at", "user", "kind", "title", "silence")
    list_filter = ("kind", "silence", "made_at")
    list_select_related = ("user",)
    search_fields = ("=user__email", "=key")
    date_hierarchy = "made_at"
    ordering = ("-made_at", "id")


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery]):
    list_display = ("due_at", "notice", "channel", "label", "state", "reason", "attempts")
    list_filter = ("state", "channel", "due_at")
    list_select_related = ("notice",)
    search_fields = ("=notice__user__email", "=label")
    date_hierarchy = "due_at"
    ordering = ("-due_at", "id")


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin[Subscription]):
    list_display = ("created_at", "user", "label", "reached_at")
    list_select_related = ("user",)
    list_filter = (("reached_at", admin.EmptyFieldListFilter),)
    date_hierarchy = "created_at"
    search_fields = ("=user__email",)
    ordering = ("-created_at", "id")
    fields = list_display  # never its address and keys, nor the key of its web session
