"""Routes of this room."""

from django.urls import path

from credits import api

urlpatterns = [path("api/extension/credit-balance", api.CreditBalance.as_view())]
