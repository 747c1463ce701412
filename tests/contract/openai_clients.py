"""The openai packages for Python and JavaScript behind one interface: jobs in, outcomes out."""

import asyncio
import itertools
import json
import queue
import subprocess
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import openai

HERE = Path(__file__).resolve().parent
_PATIENCE_S = 60


@dataclass
class Outcome:
    """What a job came to. finish: the finish_reason. error: None, or kind (the exception's class),
    status, code, param, message and retry_after as the package tells them."""

    text: str = ""
    reasoning: str = ""
    details: list[dict[str, Any]] = field(default_factory=list)
    tool_calls: list[dict[str, str]] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    vectors: list[list[float]] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    finish: str | None = None
    usage: dict[str, Any] | None = None
    chunks: int = 0
    error: dict[str, Any] | None = None


@dataclass
class Job:
    """call: chat, embeddings, images or models. leave_after: chunks after which a stream is left."""

    base_url: str
    key: str
    call: str
    request: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    leave_after: int | None = None
    max_retries: int = 0


class Running(Protocol):
    def abort(self) -> None: ...
    def outcome(self) -> Outcome: ...


class Package(Protocol):
    name: str

    def start(self, job: Job) -> Running: ...
    def close(self) -> None: ...


class Python:
    """``AsyncOpenAI`` on an event loop of its own."""

    name = "python"

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, job: Job) -> "_Task":
        return _Task(asyncio.run_coroutine_threadsafe(self._run(job), self._loop))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()

    async def _run(self, job: Job) -> Outcome:
        client = openai.AsyncOpenAI(
            base_url=job.base_url,
            api_key=job.key,
            max_retries=job.max_retries,
            default_headers=dict(job.headers),
        )
        async with client:
            try:
                return await _answer(client, job)
            except openai.APIError as error:
                return Outcome(error=_described(error))


#: Fields of a completion that the package names; others go into its ``extra_body``.
_OF_THE_CLIENT = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "temperature", "tools",
     "tool_choice", "modalities"}
)  # fmt: skip


async def _answer(client: openai.AsyncOpenAI, job: Job) -> Outcome:
    if job.call == "embeddings":
        made = await client.embeddings.create(**job.request)
        return Outcome(vectors=[one.embedding for one in made.data])
    if job.call == "images":
        drawn = await client.images.generate(**job.request)
        return Outcome(images=[one.b64_json or one.url for one in drawn.data])
    if job.call == "models":
        return Outcome(models=[one.id async for one in client.models.list()])
    own = {name: value for name, value in job.request.items() if name in _OF_THE_CLIENT}
    extra = {name: value for name, value in job.request.items() if name not in own}
    answer = await client.chat.completions.create(**own, extra_body=extra)
    if job.request.get("stream"):
        return await _collected(answer, job.leave_after)
    return _whole(answer.model_dump())


async def _collected(stream: Any, leave_after: int | None) -> Outcome:
    """The deltas of a stream put together."""
    found = Outcome()
    async for chunk in stream:
        found.chunks += 1
        read = chunk.model_dump()
        choice = read["choices"][0] if read["choices"] else {}
        delta = choice.get("delta", {})
        found.text += delta.get("content") or ""
        found.reasoning += delta.get("reasoning") or delta.get("reasoning_content") or ""
        found.details += delta.get("reasoning_details") or []
        for piece in delta.get("tool_calls") or []:
            if piece["index"] == len(found.tool_calls):
                found.tool_calls.append({"id": "", "name": "", "arguments": ""})
            call, function = found.tool_calls[piece["index"]], piece["function"]
            call["id"] = call["id"] or piece["id"]
            call["name"] = call["name"] or function["name"]
            call["arguments"] += function["arguments"] or ""
        found.finish = choice.get("finish_reason") or found.finish
        found.usage = read["usage"] or found.usage
        if found.chunks == leave_after:
            await stream.close()
            break
    return found


def _whole(answer: dict[str, Any]) -> Outcome:
    message = answer["choices"][0]["message"]
    calls = message.get("tool_calls") or []
    return Outcome(
        text=message["content"] or "",
        reasoning=message.get("reasoning") or "",
        details=message.get("reasoning_details") or [],
        tool_calls=[{"id": call["id"], **call["function"]} for call in calls],
        images=[one["image_url"]["url"] for one in message.get("images") or []],
        finish=answer["choices"][0]["finish_reason"],
        usage=answer["usage"],
    )


def _described(error: openai.APIError) -> dict[str, Any]:
    response = getattr(error, "response", None)
    return {
        "kind": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "code": error.code,
        "param": error.param,
        "message": error.message,
        "retry_after": response.headers.get("retry-after") if response is not None else None,
    }


@dataclass
class _Task:
    future: "Future[Outcome]"

    def abort(self) -> None:
        self.future.cancel()

    def outcome(self) -> Outcome:
        return self.future.result(_PATIENCE_S)


class Node:
    """The npm package in one Node process for all jobs."""

    name = "node"

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            ["node", str(HERE / "openai_client.mjs")],  # noqa: S607
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ids = itertools.count(1)
        self._ended: dict[int, queue.SimpleQueue[Outcome]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, line: Mapping[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def start(self, job: Job) -> "_Line":
        number = next(self._ids)
        ended = self._ended[number] = queue.SimpleQueue()
        self.send({"id": number, **vars(job)})
        return _Line(self, number, ended)

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(_PATIENCE_S)
        self._reader.join(_PATIENCE_S)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            found = json.loads(line)
            self._ended[found.pop("id")].put(Outcome(**found))


@dataclass
class _Line:
    node: Node
    number: int
    ended: "queue.SimpleQueue[Outcome]"

    def abort(self) -> None:
        self.node.send({"abort": self.number})

    def outcome(self) -> Outcome:
        return self.ended.get(timeout=_PATIENCE_S)


PACKAGES: dict[str, type[Python] | type[Node]] = {"python": Python, "node": Node}
