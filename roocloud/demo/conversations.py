"""What an agent and its person said, as an editor sends it."""

import json
from datetime import datetime, timedelta
from typing import Any

from roocloud.demo.company import Job

Message = dict[str, Any]


def finished(job: Job, *, at: datetime, costs_usd: list[float]) -> list[Message]:
    """A task from its prompt to its result. costs_usd: of the requests that it took."""
    before, after = job.change
    diff = f"@@ -1,1 +1,1 @@\n-{before}+{after}"
    steps = [
        _say("text", job.prompt),
        _request(costs_usd[0]),
        _say("reasoning", "First the file that this is about, then the smallest change."),
        _tool("readFile", path=job.path, content=f"/work/{job.path}"),
        *(_request(cost) for cost in costs_usd[1:-1]),
        _tool("appliedDiff", path=job.path, diff=diff, content=diff),
        _ask("command", job.command, isAnswered=True),
        _say("command_output", "All checks passed.\n"),
        _request(costs_usd[-1]),
        _say("completion_result", job.outcome),
    ]
    return _timed(steps, at)


def waiting(job: Job, *, at: datetime) -> list[Message]:
    """A task whose agent asks whether it may run a command."""
    return _timed([_say("text", job.prompt), _request(0.01), _ask("command", job.command)], at)


def _timed(steps: list[Message], at: datetime) -> list[Message]:
    return [
        {"ts": int((at + timedelta(seconds=9 * place)).timestamp() * 1000), **step}
        for place, step in enumerate(steps)
    ]


def _say(kind: str, text: str) -> Message:
    return {"type": "say", "say": kind, "text": text, "partial": False}


def _ask(kind: str, text: str, **more: Any) -> Message:
    return {"type": "ask", "ask": kind, "text": text, "partial": False, **more}


def _tool(name: str, **fields: Any) -> Message:
    return _ask("tool", json.dumps({"tool": name, **fields}), isAnswered=True)


def _request(cost_usd: float) -> Message:
    used = {"tokensIn": 9_000, "tokensOut": 400, "cacheReads": 7_000, "cacheWrites": 0}
    return _say("api_req_started", json.dumps({"apiProtocol": "openai", **used, "cost": cost_usd}))
