from django.urls import path

from bridge import api

urlpatterns = [path("api/extension/bridge/config", api.BridgeConfig.as_view())]
