"""A scripted editor and the browser beside it: they speak to a server as the real ones do.

Used by ``manage.py doctor`` and by the end-to-end tests. Each method is one step of the round; it
raises StepFailed with what was seen, and leaves what later steps need on the instance.
"""

import asyncio
import html
import io
import itertools
import json
import re
import secrets
import time
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp

from roocloud.lib import outbound

REDIRECT = "vscode://RooVeterinaryInc.roo-cline"
_CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_CALLBACK = re.compile(r'id="callback-url">([^<]+)<')
_AGENT = {"User-Agent": "Roo-Code 3.52.1"}


class StepFailed(Exception):
    """A step did not end as the real client needs it to."""


class Editor:
    """urls: addresses of one deployment, used in turn, so that several processes are all met."""

    def __init__(self, urls: Sequence[str], *, redirect: str = REDIRECT) -> None:
        self._urls = itertools.cycle(urls)
        self._redirect = redirect
        self._http = outbound.visitor()
        self.client_token = self.session_id = self.jwt = self.organization_id = ""
        self.task_id = str(uuid.uuid4())
        self.model = ""
        self.cost_usd = 0.0

    async def __aenter__(self) -> "Editor":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.close()

    # --- Plumbing -------------------------------------------------------------------------

    async def _ask(
        self, method: str, path: str, *, wants: int = 200, **request: Any
    ) -> tuple[Any, aiohttp.ClientResponse]:
        """The parsed JSON (or text) of an answer with the wanted status."""
        try:
            async with self._http.request(
                method, f"{next(self._urls)}{path}", allow_redirects=False, **request
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise StepFailed(f"{method} {path}: {type(fault).__name__} {fault}") from fault
        if response.status != wants:
            seen = body[:300].decode("utf-8", "replace")
            raise StepFailed(f"{method} {path} answered {response.status}, not {wants}: {seen}")
        if "json" in response.headers.get("Content-Type", ""):
            return json.loads(body), response
        return body.decode("utf-8", "replace"), response

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.jwt}"}

    async def _page(self, url: str) -> str:
        """A page as a browser sees it, redirects followed."""
        try:
            async with self._http.get(url) as response:
                return await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise StepFailed(f"{url}: {type(fault).__name__} {fault}") from fault

    async def _submit(self, url: str, page: str, fields: dict[str, str]) -> str:
        token = _CSRF.search(page)
        if token is None:
            raise StepFailed(f"{url} shows no form: {page[:300]}")
        data = {"csrfmiddlewaretoken": token[1], **fields}
        async with self._http.post(url, data=data, headers={"Referer": url}) as response:
            return await response.text()

    # --- The round ------------------------------------------------------------------------

    async def reach(self) -> None:
        await self._ask("GET", "/health")

    async def sign_in(self, email: str, password: str, *, organization_id: str) -> None:
        """Through the browser: login, consent, hand-off; then the ticket for a client token."""
        base, state = next(self._urls), secrets.token_hex(16)
        path = f"/extension/sign-in?state={state}&auth_redirect={self._redirect}"
        login = await self._page(f"{base}{path}")
        login_url = f"{base}/accounts/login/"
        consent = await self._submit(
            login_url, login, {"login": email, "password": password, "next": path}
        )
        if "auth_redirect" not in consent:
            raise StepFailed("The sign-in form did not lead to the consent page")
        hand_off = await self._submit(
            f"{base}{path}",
            consent,
            {
                "state": state,
                "auth_redirect": self._redirect,
                "organization": organization_id,
                "decision": "allow",
            },
        )
        shown = _CALLBACK.search(hand_off)
        if shown is None:
            raise StepFailed("The hand-off page shows no callback address")
        callback = urlsplit(html.unescape(shown[1]))
        query = {key: values[0] for key, values in parse_qs(callback.query).items()}
        if query.get("state") != state or callback.path != "/auth/clerk/callback":
            raise StepFailed(f"The callback is not one that an editor accepts: {shown[1]}")
        self.organization_id = query.get("organizationId", "")
        await self._redeem(query["code"])

    async def _redeem(self, ticket: str) -> None:
        body, response = await self._ask(
            "POST",
            "/v1/client/sign_ins",
            data={"strategy": "ticket", "ticket": ticket},
            headers=_AGENT,
        )
        self.client_token = response.headers.get("Authorization", "")
        if not self.client_token or " " in self.client_token:
            raise StepFailed("The Authorization header of the answer is missing or not bare")
        self.session_id = body["response"]["created_session_id"]

    async def refresh(self) -> None:
        body, _ = await self._ask(
            "POST",
            f"/v1/client/sessions/{self.session_id}/tokens",
            data={"_is_native": "1", "organization_id": self.organization_id},
            headers={"Authorization": f"Bearer {self.client_token}", **_AGENT},
        )
        self.jwt = body["jwt"]

    async def who_am_i(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.client_token}", **_AGENT}
        me, _ = await self._ask("GET", "/v1/me", headers=headers)
        mine, _ = await self._ask("GET", "/v1/me/organization_memberships", headers=headers)
        ids = [row["organization"]["id"] for row in mine["response"]]
        if self.organization_id and self.organization_id not in ids:
            raise StepFailed("The chosen organization is not among the memberships")
        person: dict[str, Any] = me["response"]
        return person

    async def read_settings(self) -> dict[str, Any]:
        both, _ = await self._ask("GET", "/api/extension-settings", headers=self._bearer())
        if not {"allowList", "defaultSettings", "version"} <= set(both["organization"]):
            raise StepFailed("The organization's half of the settings lacks required keys")
        found: dict[str, Any] = both
        return found

    async def write_settings(self, settings: dict[str, Any], *, version: int) -> int:
        answer, _ = await self._ask(
            "PATCH",
            "/api/user-settings",
            json={"settings": settings, "version": version},
            headers=self._bearer(),
        )
        if answer["version"] <= version:
            raise StepFailed("The version did not rise, so an editor would ignore the answer")
        return int(answer["version"])

    async def list_models(self) -> list[str]:
        listed, _ = await self._ask("GET", "/proxy/v1/models", headers=self._bearer())
        await self._ask("GET", "/proxy//v1/models")
        ids = [entry["id"] for entry in listed["data"]]
        if not ids:
            raise StepFailed("No model is offered")
        return ids

    async def complete(self, model: str) -> str:
        """One streamed completion; its text. The cost is kept."""
        self.model = model
        text, usage, pieces = "", None, 0
        request = {
            "model": model,
            "temperature": 0,
            "messages": [{"role": "user", "content": "Say hello in five words."}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 64,
        }
        headers = {
            **self._bearer(),
            "Accept": "application/json",
            "X-Roo-Task-ID": self.task_id,
            "X-Roo-App-Version": "3.52.1",
        }
        async with self._http.post(
            f"{next(self._urls)}/proxy/v1/chat/completions", json=request, headers=headers
        ) as response:
            if response.status != 200:
                seen = (await response.text())[:300]
                raise StepFailed(f"The completion answered {response.status}: {seen}")
            async for raw in response.content:
                line = raw.decode("utf-8", "replace").strip()
                if not line.startswith("data:") or line == "data: [DONE]":
                    continue
                chunk = json.loads(line[5:])
                if "error" in chunk:
                    raise StepFailed(f"The stream ended with {chunk['error']}")
                pieces += 1
                usage = chunk.get("usage") or usage
                for choice in chunk["choices"]:
                    text += choice.get("delta", {}).get("content") or ""
        if pieces < 2 or not usage or not isinstance(usage.get("cost"), int | float):
            raise StepFailed(f"The stream had {pieces} chunks, and the usage {usage}")
        self.cost_usd += usage["cost"]
        return text

    async def balance(self) -> float:
        answer, _ = await self._ask("GET", "/api/extension/credit-balance", headers=self._bearer())
        return float(answer["balance"])

    async def expect_balance(self, usd: float) -> float:
        """The balance, which is lowered within a moment of a completion's end."""
        for _ in range(20):
            seen = await self.balance()
            if abs(seen - usd) < 1e-9:
                return seen
            await _pause()
        raise StepFailed(f"The balance is {seen}, not {usd}")

    def _properties(self, task_id: str) -> dict[str, Any]:
        return {
            "appName": "roo-cline",
            "appVersion": "3.52.1",
            "vscodeVersion": "1.84.0",
            "platform": "linux",
            "editorName": "scripted",
            "language": "en",
            "mode": "code",
            "taskId": task_id,
            "apiProvider": "roo",
            "modelId": self.model,
            "repositoryName": "example/doctor",
        }

    async def record_task(self) -> None:
        now_ms = int(time.time() * 1000)
        messages = [
            {"ts": now_ms, "type": "say", "say": "text", "text": "Check this server"},
            {"ts": now_ms + 1, "type": "say", "say": "completion_result", "text": "It **works**."},
        ]
        events: list[dict[str, Any]] = [{"type": "Task Created", "properties": {}}]
        events += [{"type": "Task Message", "properties": {"message": m}} for m in messages]
        events.append(
            {
                "type": "LLM Completion",
                "properties": {"inputTokens": 10, "outputTokens": 5, "cost": self.cost_usd},
            }
        )
        for event in events:
            event["properties"] |= self._properties(self.task_id)
            await self._ask("POST", "/api/events", json=event, headers=self._bearer())

    async def share(self, task_id: str, *, wants: int = 200) -> dict[str, Any]:
        answer, _ = await self._ask(
            "POST",
            "/api/extension/share",
            json={"taskId": task_id, "visibility": "public"},
            headers=self._bearer(),
            wants=wants,
        )
        if wants == 200 and not answer["success"]:
            raise StepFailed(f"Sharing was refused: {answer.get('error')}")
        found: dict[str, Any] = answer
        return found

    async def share_known(self) -> str:
        """The address of the recorded task's page, which shows it to strangers."""
        answer = await self.share(self.task_id)
        await self._expect_text(answer["shareUrl"], "Check this server")
        return str(answer["shareUrl"])

    async def share_unknown(self, *, body_bytes: int) -> str:
        """A task that the server has not seen: 404, upload, share. body_bytes: about how much is
        uploaded."""
        task_id = str(uuid.uuid4())
        missing = await self.share(task_id, wants=404)
        if missing.get("success") is not False:
            raise StepFailed("The 404 has no JSON body, so the editor would not upload")
        now_ms = int(time.time() * 1000)
        messages = [
            {"ts": now_ms, "type": "say", "say": "text", "text": "Started while signed out"},
            {"ts": now_ms + 1, "type": "say", "say": "command_output", "text": "x" * body_bytes},
            {"ts": now_ms + 2, "type": "say", "say": "completion_result", "text": "Done."},
        ]
        form = aiohttp.FormData()
        form.add_field("taskId", task_id)
        form.add_field("properties", json.dumps(self._properties(task_id)))
        form.add_field(
            "file",
            io.BytesIO(json.dumps(messages).encode()),
            filename="task.json",
            content_type="application/json",
        )
        await self._ask("POST", "/api/events/backfill", data=form, headers=self._bearer())
        answer = await self.share(task_id)
        await self._expect_text(answer["shareUrl"], "Started while signed out")
        return str(answer["shareUrl"])

    async def _expect_text(self, url: str, text: str) -> None:
        """A share page may say for some seconds that it is being prepared."""
        async with outbound.visitor() as stranger:
            for _ in range(120):
                async with stranger.get(url) as response:
                    page = await response.text()
                if text in page:
                    return
                await _pause()
        raise StepFailed(f"The share page does not show the conversation: {page[:300]}")

    async def sign_out(self) -> None:
        """The session ends; its tokens stop within five seconds."""
        await self._ask(
            "POST",
            f"/v1/client/sessions/{self.session_id}/remove",
            data={"_is_native": "1"},
            headers={"Authorization": f"Bearer {self.client_token}", **_AGENT},
        )
        await self._ask(
            "POST",
            f"/v1/client/sessions/{self.session_id}/tokens",
            data={"_is_native": "1", "organization_id": ""},
            headers={"Authorization": f"Bearer {self.client_token}"},
            wants=401,
        )
        for _ in range(24):
            try:
                await self._ask("GET", "/api/extension-settings", headers=self._bearer(), wants=401)
            except StepFailed:
                await _pause()
            else:
                return
        raise StepFailed("The old token still works six seconds after the sign-out")


async def _pause() -> None:
    await asyncio.sleep(0.25)
