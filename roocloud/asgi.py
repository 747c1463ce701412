"""The ASGI entry: paths made canonical, bodies counted, then routed by protocol and path."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "roocloud.settings")
django_app = get_asgi_application()  # first: it loads the apps that the imports below need

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from bridge import polling, rest, sockets  # noqa: E402
from orgs import revalidation  # noqa: E402
from proxy import holds, keeping, settling  # noqa: E402
from proxy.calls import ENDPOINTS  # noqa: E402
from proxy.completions import application as completes  # noqa: E402
from roocloud.checks import refuse_unsafe_settings  # noqa: E402
from roocloud.entry import Lifespan, entry, gate  # noqa: E402
from tasks_sharing import streams  # noqa: E402

refuse_unsafe_settings()

bridge = sockets.Bridge(is_ending=lambda: gate.is_closed)
rest.serve(bridge)

#: Plain ASGI routes, served before Django's. The access walk reads this list as well.
asgi_urlpatterns = [
    *(
        path(f"proxy/v1/{endpoint.path}", completes(endpoint))  # type: ignore[arg-type]  # channels routes ASGI applications
        for endpoint in ENDPOINTS
    ),
    path(
        "task/<str:task_id>/live",
        streams.application(is_ending=lambda: gate.is_closed),  # type: ignore[arg-type]  # the same
    ),
    path("api/extension-settings", revalidation.application(django_app)),  # type: ignore[arg-type]  # the same
    path("socket.io/", polling.application(bridge)),  # type: ignore[arg-type]  # the same
]
websocket_urlpatterns = [
    path("socket.io/", sockets.application(bridge)),  # type: ignore[arg-type]  # the same
]

application = entry(
    ProtocolTypeRouter(
        {
            "http": URLRouter([*asgi_urlpatterns, re_path(r"", django_app)]),  # type: ignore[arg-type]  # the same
            "websocket": URLRouter(websocket_urlpatterns),
            "lifespan": Lifespan(
                at_end=[bridge.close, settling.settled, keeping.kept, holds.close]
            ),
        }
    )
)
