"""Routes of this room."""

from django.urls import path

from accounts import clerk, data_pages, pages, sign_in_pages, trpc
from accounts.api_user_settings import UserSettingsView

urlpatterns = [
    path("extension/sign-in", sign_in_pages.editor_sign_in, name="extension-sign-in"),
    path("extension/provider-sign-up", sign_in_pages.provider_sign_up, name="provider-sign-up"),
    path("l/<slug:slug>", sign_in_pages.editor_sign_in, name="landing"),
    path("extension/hand-off", sign_in_pages.fresh_callback, name="hand-off"),
    path("extension/hand-off/status", sign_in_pages.hand_off_status, name="hand-off-status"),
    path("cli/sign-in", sign_in_pages.cli_sign_in, name="cli-sign-in"),
    path("v1/client/sign_ins", clerk.SignIns.as_view()),
    path(
        "v1/client/sign_ins/<str:sign_in_id>/prepare_first_factor",
        clerk.PrepareFirstFactor.as_view(),
    ),
    path("v1/client/sessions/<str:session_id>/tokens", clerk.SessionTokens.as_view()),
    path("v1/client/sessions/<str:session_id>/remove", clerk.RemoveSession.as_view()),
    path("v1/me", clerk.Me.as_view()),
    path(".well-known/jwks.json", clerk.Jwks.as_view()),
    path("api/user-settings", UserSettingsView.as_view()),
    path("trpc/<str:paths>", trpc.trpc),
    path("account", pages.account, name="account"),
    path("account/data", data_pages.my_data, name="my-data"),
    path("account/data/export", data_pages.export, name="export-data"),
    path("account/data/erase", data_pages.erase, name="erase-account"),
    path("account/data/keep", data_pages.keep, name="keep-account"),
    path("account/devices", pages.devices, name="devices"),
    path("account/devices/end-all", pages.end_all_sessions, name="end-all-sessions"),
    path("account/devices/<str:session_id>/end", pages.end_session, name="end-session"),
    path("account/browsers/<int:pk>/end", pages.end_browser, name="end-browser"),
    path("account/tokens/new", pages.new_token, name="new-token"),
    path("account/context", pages.switch_context, name="switch-context"),
]
