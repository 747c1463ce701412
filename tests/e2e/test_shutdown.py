"""E2: SIGTERM drains. What is under way ends, what is new is told to come back, what outstays the
drain is cut and settled."""

import asyncio
import json

import aiohttp
import pytest

from tests.e2e.test_round import PASSWORD

COMPLETION = (
    "from proxy.models import Completion; from credits.models import Hold;"
    "print(Completion.unscoped.get().status, Hold.unscoped.open().count())"
)


@pytest.fixture
def deployed(launch, upstream, upstream_key):
    """``deployed(upstream_model, drain_s)``: a deployment, and headers that open it."""

    def make(upstream_model: str, drain_s: int):
        made = launch.embedded(env={"ROOCLOUD_DRAIN_S": str(drain_s)})
        *_, token = made.manage_all(
            ["create_user", "a@a.example", "--password", PASSWORD, "--credit", "5"],
            ["create_upstream", "fake", "--base-url", upstream.url, "--api-key", upstream_key],
            ["create_model", "acme/coder", "--upstream", "fake", "--upstream-model", upstream_model,
             "--input-price", "3", "--output-price", "15"],
            ["create_job_token", "a@a.example"],
        )  # fmt: skip
        return made, {"Authorization": f"Bearer {token}"}

    upstream.go_on.clear()
    return make


def completion(session: aiohttp.ClientSession, url: str):
    body = {"model": "acme/coder", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    return session.post(f"{url}/proxy/v1/chat/completions", json=body)


async def refused(session: aiohttp.ClientSession, url: str) -> aiohttp.ClientResponse:
    """The first answer of a process that has taken note of its signal."""
    while True:
        async with session.get(url) as answer:
            await answer.read()
        if answer.status == 503:
            return answer


async def test_a_stream_under_way_at_sigterm_comes_to_its_end(deployed, upstream):
    made, headers = deployed("waits", drain_s=60)
    (url,), (server,) = made.urls, made.processes
    async with (
        asyncio.timeout(60),
        aiohttp.ClientSession(headers=headers) as session,
        completion(session, url) as stream,
    ):
        first = await stream.content.readuntil(b"\n\n")
        server.terminate()
        answer = await refused(session, f"{url}/v1/me")
        assert int(answer.headers["Retry-After"]) > 0
        assert (await answer.json())["errors"][0]["code"] == "unavailable"
        assert (await refused(session, f"{url}/health")).status == 503
        upstream.go_on.set()
        text = (first + await stream.content.read()).decode()

    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["usage"]["cost"] > 0
    assert await asyncio.to_thread(server.wait, 30) in (0, -15)
    assert made.manage("shell", "-v", "0", "-c", COMPLETION) == "done 0"


async def test_a_stream_that_outstays_the_drain_is_cut_and_settled(deployed):
    made, headers = deployed("endless", drain_s=1)
    (url,), (server,) = made.urls, made.processes
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        completion(session, url) as stream,
    ):
        await stream.content.readuntil(b"\n\n")
        server.terminate()
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.content.read()

    assert await asyncio.to_thread(server.wait, 30) in (0, -15)
    assert made.manage_all(["shell", "-v", "0", "-c", COMPLETION], ["check_ledger"]) == [
        "cut 0",
        "Every balance is the sum of its entries.",
    ]
