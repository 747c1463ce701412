"""Routes of this room that Django serves; completions are routed by ``roocloud.asgi``."""

from django.urls import path

from proxy import api, keeping_pages, key_pages, pages

_OF_ORGANIZATION = "organizations/<str:organization_id>/keys"

urlpatterns = [
    path("proxy/v1/models", api.Models.as_view()),
    path("account/keys", key_pages.key_list, name="api-keys"),
    path("account/keys/new", key_pages.new_key, name="new-api-key"),
    path("account/keys/<str:key_id>", key_pages.key_page),
    path("account/keys/<str:key_id>/edit", key_pages.edit_key, name="edit-api-key"),
    path("account/keys/<str:key_id>/switch", key_pages.switch_key),
    path("account/keys/<str:key_id>/rotate", key_pages.rotate_key, name="rotate-api-key"),
    path("account/keys/<str:key_id>/revoke", key_pages.revoke_key),
    path(_OF_ORGANIZATION, key_pages.key_list, name="organization-keys"),
    path(f"{_OF_ORGANIZATION}/<str:key_id>", key_pages.key_page),
    path(f"{_OF_ORGANIZATION}/<str:key_id>/switch", key_pages.switch_key),
    path(f"{_OF_ORGANIZATION}/<str:key_id>/revoke", key_pages.revoke_key),
    path(
        "organizations/<str:organization_id>/prompts",
        keeping_pages.organization_prompts,
        name="organization-prompts",
    ),
    path("usage", pages.usage, name="usage"),
    path("usage.csv", pages.export, name="usage-export"),
    path("usage/<str:completion_id>", pages.completion, name="completion"),
]
