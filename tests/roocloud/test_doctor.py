"""``manage.py doctor`` names the step that fails and its cure, whatever came over the wire."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from roocloud.asgi import application
from roocloud.doctor import _CURES
from tests.live import serving

Answer = Callable[[Any], Awaitable[None]]


def says(content: bytes) -> Answer:
    """A JSON answer of that content."""

    async def answer(send: Any) -> None:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return answer


async def breaks_off(send: Any) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
    raise ConnectionResetError


def with_a_fault(path: str, fault: Answer) -> Any:
    """The real application, but for one path."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == path:
            while (await receive()).get("more_body"):
                pass
            await fault(send)
        else:
            await application(scope, receive, send)

    return app


@pytest.mark.parametrize(
    ("path", "fault", "step"),
    [
        ("/proxy/v1/chat/completions", breaks_off, "completion"),
        ("/proxy/v1/chat/completions", says(b"data: nonsense\n\n"), "completion"),
        ("/proxy/v1/models", says(b"null"), "models"),
        ("/proxy/v1/models", says(b'{"data": [{}]}'), "models"),
        ("/api/extension-settings", says(b"{"), "settings"),
        ("/v1/me", says(b"{}"), "who am I"),
        ("/v1/me", says(b"[]"), "who am I"),
    ],
)
def test_a_broken_answer_is_a_failed_step(live_url, settings, capsys, path, fault, step):
    with serving(with_a_fault(path, fault)) as url:
        settings.ROOCLOUD_PUBLIC_URL = url
        settings.CSRF_TRUSTED_ORIGINS = [url]
        with pytest.raises(CommandError, match="does not work yet"):
            call_command("doctor")
    printed = capsys.readouterr().out
    assert f"✗ {step}: " in printed
    assert _CURES[step] in printed
