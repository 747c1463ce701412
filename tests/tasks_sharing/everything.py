"""A made conversation that has every kind of message in it, and is worth reading."""

import base64
import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

BEGAN = 1795231900000
_MODULES = Path(__file__).resolve().parents[2] / "node_modules"
_SCHEMAS = [_MODULES / name / "dist/index.d.ts" for name in ("@roo-code/types", "roo-types-bridge")]


def _listed(pattern: str) -> list[str]:
    """The strings that the client's published schemas, new and old, list in one place."""
    found = [re.search(pattern, path.read_text()) for path in _SCHEMAS]
    return sorted({name for match in found if match for name in re.findall(r'"(\w+)"', match[1])})


def known_kinds() -> list[tuple[str, str]]:
    """(type, kind) of every message that a client can send."""
    says = _listed(r"declare const clineSays: readonly \[([^\]]+)\]")
    asks = _listed(r"declare const clineAsks: readonly \[([^\]]+)\]")
    return [*(("say", kind) for kind in says), *(("ask", kind) for kind in asks)]


def known_tools() -> list[str]:
    return _listed(r"interface ClineSayTool \{\s+tool: ([^;]+);")


def picture(width: int = 360, height: int = 150) -> str:
    """A PNG of a gradient, as a data URL."""
    rows = b"".join(
        b"\0" + b"".join(bytes((40 + x * 120 // width, 110 + y * 90 // height, 150)) for x in range(width))
        for y in range(height)
    )  # fmt: skip

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


SETTINGS_BEFORE = '''"""Settings of the service."""

from dataclasses import dataclass


@dataclass
class Settings:
    retries: int = 3
    timeout: float = 10.0


def load(environ):
    return Settings()
'''
SETTINGS_AFTER = '''"""Settings of the service."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    retries: int = 3
    timeout_s: float = 10.0
    backoff_s: float = 0.25


def load(environ=os.environ):
    """Settings from the environment; a value that is no number names its variable."""
    return Settings(
        retries=_number(environ, "RETRIES", int, 3),
        timeout_s=_number(environ, "TIMEOUT_S", float, 10.0),
    )
'''
CLIENT = """import { setTimeout as sleep } from "node:timers/promises";

/** Calls `send` until it succeeds, at most `retries` times more. */
export async function withRetries(send, { retries = 3, backoffMs = 250 } = {}) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await send();
    } catch (error) {
      if (attempt >= retries || error.status < 500) throw error;
      await sleep(backoffMs * 2 ** attempt); // 250 ms, 500 ms, 1 s
    }
  }
}
"""
OUTPUT = (
    "$ pytest -q\n\x1b[32m.......\x1b[0m\x1b[31mF\x1b[0m\x1b[32m..\x1b[0m                                     [100%]\n"
    "=================== \x1b[1;31mFAILURES\x1b[0m ===================\n"
    "\x1b[31mE   AssertionError: assert 4 == 3\x1b[0m\n"
    "\x1b[33mtests/test_settings.py\x1b[0m:12: AssertionError\n"
    "\x1b[31m1 failed\x1b[0m, \x1b[32m9 passed\x1b[0m in 0.42s"
)
PASSED = "\x1b[32m..........\x1b[0m                                        [100%]\n\x1b[32m10 passed\x1b[0m in 0.39s"


def unified(before: str, after: str) -> str:
    from difflib import unified_diff

    rows = unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), n=3)
    return "".join(list(rows)[2:])


def tool(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "ask",
        "ask": "tool",
        "text": json.dumps({"tool": name, **fields}),
        "isAnswered": True,
    }


def say(kind: str, text: Any = "", **fields: Any) -> dict[str, Any]:
    text = text if isinstance(text, str) else json.dumps(text)
    return {"type": "say", "say": kind, "text": text, **fields}


def ask(kind: str, text: Any = "", **fields: Any) -> dict[str, Any]:
    text = text if isinstance(text, str) else json.dumps(text)
    return {"type": "ask", "ask": kind, "text": text, **fields}


def todos(done: int, now: int) -> dict[str, Any]:
    texts = [
        "Read the settings",
        "Retry what fails for a moment",
        "Test the retries",
        "Describe it in the README",
    ]
    states = ["completed"] * done + ["in_progress"] * now + ["pending"] * 4
    return {
        "todos": [
            {"id": str(n), "content": text, "status": state}
            for n, (text, state) in enumerate(zip(texts, states, strict=False))
        ]
    }


def request(cost: float, tokens_in: int) -> dict[str, Any]:
    usage = {
        "apiProtocol": "anthropic",
        "tokensIn": tokens_in,
        "tokensOut": 412,
        "cacheReads": tokens_in - 900,
        "cost": cost,
    }
    return say("api_req_started", usage)


def messages() -> list[dict[str, Any]]:
    """In order, each with its ``ts``."""
    shown = [
        say(
            "text",
            "Calls to the billing service fail for a moment now and then. Retry them with a growing pause, make the "
            "settings **readable from the environment**, and add tests.\n\nKeep the public names as they are.",
            images=[picture()],
        ),
        request(0.0182, 8_200),
        say("reasoning", "The service has a Python part and a small Node client. I should look at both before I change anything."),
        say("text", "I'll look at how the settings are read, and where the calls are made."),
        tool("readFile", path="billing/settings.py", content="/home/dev/billing/settings.py", reason="(lines 1-12)"),
        tool("readFile", path="web/client.js", content="/home/dev/web/client.js"),
        tool("readFile", path="tests/test_settings.py", content="/home/dev/tests/test_settings.py"),
        tool("listFilesTopLevel", path="web", content="client.js\npackage.json\nREADME.md"),
        tool("listFilesRecursive", path="billing", content="__init__.py\nsettings.py\ncalls.py"),
        tool("searchFiles", path=".", regex="timeout\\b", filePattern="*.py", content="Found 4 results.\n\n# billing/settings.py\n  9 |     timeout: float = 10.0\n"),
        say("codebase_search_result", {"tool": "codebaseSearch", "content": {"query": "where are failing calls handled", "results": [
            {"filePath": "billing/calls.py", "score": 0.82, "startLine": 14, "endLine": 19,
             "codeChunk": "def call(session, path):\n    response = session.get(path)\n    response.raise_for_status()\n    return response.json()"}]}}),
        tool("updateTodoList", **todos(0, 1)),
        ask("followup", {"question": "Which errors should be retried?", "suggest": [
            {"answer": "Only those of the server (5xx) and broken connections"}, {"answer": "Everything, three times"},
            {"answer": "Let me design that first", "mode": "architect"}]}),
        say("user_feedback", "Only those of the server (5xx) and broken connections"),
        request(0.0214, 9_650),
        say("checkpoint_saved", "8f2c1d7e5b90aa12cd34", checkpoint={"from": "8f2c1d7e5b90aa12cd34", "to": "8f2c1d7e5b90aa12cd34"}),
        tool("appliedDiff", path="billing/settings.py", diff="<<<<<<< SEARCH\n…\n", content=unified(SETTINGS_BEFORE, SETTINGS_AFTER), diffStats={"added": 10, "removed": 4}),
        say("user_feedback_diff", {"tool": "editedExistingFile", "path": "billing/settings.py", "diff": unified(SETTINGS_AFTER, SETTINGS_AFTER.replace("0.25", "0.5"))}),
        tool("newFileCreated", path="web/retries.js", content=f"{'=' * 67}\n--- /dev/null\n+++ web/retries.js\n" + unified("", CLIENT), diffStats={"added": 13, "removed": 0}),
        {**tool("editedExistingFile", path="billing/calls.py", content=unified("import requests\n", "import requests  # retried\n")), "isAnswered": False},
        tool("updateTodoList", **todos(2, 1)),
        ask("command", "python -m pytest -q"),
        ask("command_output", ""),
        say("command_output", OUTPUT),
        say("diff_error", "<error>\nNo sufficiently similar match found at line 14 of `billing/calls.py`\n</error>"),
        say("error", "MODEL_NO_TOOLS_USED"),
        say("api_req_retry_delayed", "529\nOverloaded\n<retry_timer>5</retry_timer>"),
        say("api_req_retried"),
        say("api_req_rate_limit_wait", {"seconds": 4}),
        ask("api_req_failed", "529 {\"type\":\"overloaded_error\"}"),
        ask("use_mcp_server", {"type": "use_mcp_tool", "serverName": "tickets", "toolName": "find_issue", "arguments": json.dumps({"query": "billing retries", "limit": 3})}),
        say("mcp_server_request_started"),
        say("mcp_server_response", json.dumps({"issues": [{"id": 418, "title": "Billing calls fail at night"}]})),
        ask("browser_action_launch", "http://localhost:5173/billing"),
        say("browser_action", {"action": "click", "coordinate": "450,300"}),
        say("browser_action_result", {"currentUrl": "http://localhost:5173/billing", "logs": "[warn] retrying in 250 ms", "screenshot": picture(480, 200)}),
        say("browser_session_status", "Browser session closed"),
        tool("newTask", mode="test", content="Write tests for `withRetries`: how often it calls, and how long it waits."),
        say("subtask_result", "Four tests, all pass."),
        tool("finishTask"),
        tool("switchMode", mode="docs", reason="The README is to say what is retried."),
        tool("runSlashCommand", command="review", args="web/retries.js", source="project", description="Review a file"),
        tool("skill", skill="changelog", source="global", description="How this project writes its changelog"),
        tool("readCommandOutput", searchPattern="FAILED", matchCount=2, totalBytes=48_213, readStart=0, readEnd=4_096, content="FAILED tests/test_settings.py::test_load"),
        tool("codebaseSearch", query="retry", path="billing"),
        tool("generateImage", path="docs/retries.png", content="A diagram of three growing pauses"),
        tool("imageGenerated", path="docs/retries.png", imageData=picture(200, 80)),
        say("image", {"imageUri": "vscode://file/home/dev/docs/retries.png", "imagePath": "/home/dev/docs/retries.png"}),
        tool("insertContent", path="README.md", lineNumber=3, diff=unified("# Billing\n\nCalls.\n", "# Billing\n\nCalls.\n\nWhat the server fails at is tried again.\n")),
        tool("somethingNew", path="x", answer=42),
        say("tool", {"tool": "readFile", "path": "README.md"}),
        say("condense_context", contextCondense={"cost": 0.01, "prevContextTokens": 92_000, "newContextTokens": 11_400, "summary": "The settings are done, the client retries."}),
        say("condense_context_error", "The summary was empty."),
        say("sliding_window_truncation", contextTruncation={"truncationId": "t", "messagesRemoved": 12, "prevContextTokens": 92_000, "newContextTokens": 40_000}),
        say("too_many_tools_warning", {"toolCount": 71, "serverCount": 6, "threshold": 60}),
        say("shell_integration_warning"),
        say("rooignore_error", ".env"),
        say("api_req_deleted"),
        say("api_req_finished", {"tokensIn": 10, "tokensOut": 2}),
        ask("mistake_limit_reached", "The model made the same mistake three times."),
        ask("auto_approval_max_req_reached", {"count": 20}),
        ask("resume_task"),
        say("user_feedback", "Go on, but leave `calls.py` alone."),
        say("user_edit_todos", {"tool": "updateTodoList", **todos(3, 1)}),
        ask("command", "python -m pytest -q && node --test web/"),
        say("command_output", PASSED),
        request(0.0307, 14_020),
        tool("updateTodoList", **todos(4, 0)),
        say(
            "completion_result",
            "Calls that the server fails are tried again, up to three times with a growing pause.\n\n"
            "| setting | variable | default |\n|---|---|---|\n| `retries` | `RETRIES` | 3 |\n| `timeout_s` | `TIMEOUT_S` | 10 |\n\n"
            "- **Changed** `billing/settings.py`, `README.md`\n- **Added** `web/retries.js`\n\nAll ten tests pass.",
        ),
        ask("completion_result", ""),
        ask("resume_completed_task"),
    ]  # fmt: skip
    return [{"ts": BEGAN + number * 4_200, **message} for number, message in enumerate(shown)]
