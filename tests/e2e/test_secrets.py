"""I1: planted secrets. After a round with refusals and failures in it, nothing that the processes
wrote, at DEBUG, holds any of them."""

import json

import aiohttp
import pytest

from roocloud.editor import Editor, StepFailed
from tests.e2e.test_round import models

PASSWORD = "canary-password-of-alice-58301"
ADMIN_PASSWORD = "canary-password-of-root-77120"
QUESTION = "canary-question 41977"
#: What the scripted editor and the fake upstream say.
CONVERSATION = [
    "Say hello in five words", "Hello from the fake", "Check this server", "It **works**",
    "Started while signed out", QUESTION,
]  # fmt: skip


class Noting(Editor):
    """Keeps what the real editor forgets."""

    ticket = ""

    async def _redeem(self, ticket: str) -> None:
        self.ticket = ticket
        await super()._redeem(ticket)


async def refusals(editor: Noting, url: str, share_url: str) -> None:
    """What goes wrong with each secret in it, since errors are what tells most."""
    with pytest.raises(StepFailed):
        await editor._redeem(editor.ticket)  # a second time, which ends the session
    bearer = {"Authorization": f"Bearer {editor.jwt}"}
    body = {"messages": [{"role": "user", "content": QUESTION}]}
    async with aiohttp.ClientSession(headers=bearer) as session:
        for model in ("acme/refuses", "acme/fails", "acme/breaks", "acme/unknown"):
            for stream in (True, False):
                request = {**body, "model": model, "stream": stream}
                async with session.post(f"{url}/proxy/v1/chat/completions", json=request) as answer:
                    await answer.read()
        for path in ("/api/events", "/api/events/backfill", "/api/extension/share", "/v1/nothing"):
            async with session.post(f"{url}{path}", data=f'{{"text": "{QUESTION}"') as answer:
                assert answer.status >= 400
        for path in (f"/v1/me?jwt={editor.jwt}", f"/l/x?ticket={editor.ticket}", f"{share_url}x"):
            async with session.get(path if "://" in path else url + path) as answer:
                await answer.read()
        login = {"login": "alice@acme.example", "password": f"{PASSWORD}!"}
        async with session.post(f"{url}/accounts/login/", data=login) as answer:
            await answer.read()


async def test_no_log_holds_a_secret(launch, upstream, upstream_key):
    made = launch.embedded(
        env={"ROOCLOUD_LOG_LEVEL": "DEBUG", "ROOCLOUD_ADMIN_PASSWORD": ADMIN_PASSWORD}
    )
    url = made.urls[0]
    alice = "alice@acme.example"
    *_, job_token = made.manage_all(
        ["create_user", alice, "--password", PASSWORD, "--org", "Acme", "--credit", "5"],
        *models(upstream, upstream_key),
        *models(upstream, upstream_key, name="acme/refuses", upstream_model="status-401"),
        *models(upstream, upstream_key, name="acme/fails", upstream_model="fails"),
        *models(upstream, upstream_key, name="acme/breaks", upstream_model="breaks"),
        ["create_job_token", alice, "--org", "Acme"],
    )

    async with Noting([url]) as editor:
        await editor.sign_in("alice@acme.example", PASSWORD, organization_id="")
        await editor.refresh()
        session_jwt, editor.jwt = editor.jwt, job_token
        await editor.complete("acme/coder")
        await editor.record_task()
        share_url = await editor.share_known()
        other_share_url = await editor.share_unknown(body_bytes=1000)
        await refusals(editor, url, share_url)

    made.processes[0].terminate()
    made.processes[0].wait(20)
    written = "".join(log.read_text() for log in made.folder.glob("*.log"))
    secrets = {
        "password": PASSWORD,
        "administrator's password": ADMIN_PASSWORD,
        "ticket": editor.ticket,
        "client token": editor.client_token,
        "session token": session_jwt,
        "job token": job_token,
        "share link": share_url.rpartition("/")[2],
        "other share link": other_share_url.rpartition("/")[2],
        "provider key": upstream_key,
        **json.loads((made.folder / "data" / "secrets.json").read_text()),
        **{text: text for text in CONVERSATION},
    }
    assert min(map(len, secrets.values())) > 10
    found = {
        name for name, secret in secrets.items() if secret in written or secret[-20:] in written
    }
    assert found == set()
    assert " DEBUG " in written
    assert "/v1/nothing" in written  # the control: requests do leave traces
