"""From stored messages to what a page shows. Pure and total: a kind or a shape that nobody knows
becomes text, and nothing that a client sent makes it fail."""

import base64
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.utils.safestring import SafeString

from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import clean_label
from tasks_sharing import markup
from tasks_sharing.markup import Part
from tasks_sharing.models import Message

_MAX_IMAGES = 20
_MAX_TODOS = 200
_LINE = 40  # characters that a folded line has room for on a phone


@dataclass(frozen=True, slots=True)
class Item:
    """One block of the page.

    role: user, agent, thought, tool, command, output, question, result, error, note.
    summary: one line; of a folded block it is all that shows. parts: HTML, in order.
    """

    message_id: int
    at: datetime
    role: str
    summary: str = ""
    parts: tuple[SafeString, ...] = ()
    todos: tuple[tuple[str, str], ...] = ()  # (state, text)
    suggestions: tuple[str, ...] = ()
    images: tuple[int, ...] = ()  # which of the message's can be shown, see image()
    added: int = 0
    removed: int = 0
    is_cut: bool = False
    is_folded: bool = False


@dataclass(slots=True)
class _Block:
    role: str
    summary: str = ""
    parts: list[Part] = field(default_factory=list)
    todos: list[tuple[str, str]] = field(default_factory=list)
    suggestions: list[str] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    is_folded: bool = False


_VERBS = {
    "editedExistingFile": "Edit",
    "appliedDiff": "Edit",
    "newFileCreated": "Create",
    "codebaseSearch": "Search the codebase",
    "readFile": "Read",
    "readCommandOutput": "Read command output",
    "listFilesTopLevel": "List",
    "listFilesRecursive": "List all",
    "searchFiles": "Search",
    "switchMode": "Switch mode",
    "newTask": "Start a subtask",
    "finishTask": "Finish the subtask",
    "generateImage": "Generate an image",
    "imageGenerated": "Image generated",
    "runSlashCommand": "Run command",
    "updateTodoList": "Update to-dos",
    "skill": "Use skill",
}
#: Messages that carry nothing for a reader.
_SILENT = {
    ("say", "api_req_started"),
    ("say", "api_req_finished"),
    ("say", "api_req_rate_limit_wait"),
    ("say", "mcp_server_request_started"),
    ("ask", "command_output"),
    ("ask", "completion_result"),
    ("ask", "resume_task"),
    ("ask", "resume_completed_task"),
}


#: Messages that say what they say outside of their text.
_WORDLESS = {"condense_context", "sliding_window_truncation"}


def items(messages: Iterable[Message], *, opens: bool) -> list[Item]:
    """The blocks of some consecutive messages. opens: whether they begin the conversation, so that
    the first text is the prompt."""
    shown: list[tuple[Message, dict[str, Any], _Block]] = []
    awaits_prompt = opens
    for message in messages:
        document = _document(message)
        is_prompt = awaits_prompt and message.kind == "text"
        awaits_prompt = awaits_prompt and not is_prompt
        if is_prompt:
            prompt = Part(markup.markdown, _string(document, "text"))
            shown.append((message, document, _Block("user", parts=[prompt])))
        elif block := _block(message, document):
            shown.append((message, document, block))
    rendered = iter(markup.render([part for _, _, block in shown for part in block.parts]))
    return [
        _item(message, document, block, list(islice(rendered, len(block.parts))))
        for message, document, block in shown
    ]


def _item(
    message: Message,
    document: dict[str, Any],
    block: _Block,
    parts: list[tuple[SafeString, bool]],
) -> Item:
    return Item(
        message_id=message.pk,
        at=_instant(message.ts),
        role=block.role,
        summary=clean_label(block.summary, 300),
        parts=tuple(html for html, _ in parts),
        todos=tuple(block.todos),
        suggestions=tuple(block.suggestions),
        images=tuple(range(len(_images(document)))),
        added=block.added,
        removed=block.removed,
        is_cut=any(is_cut for _, is_cut in parts),
        is_folded=block.is_folded,
    )


def _document(message: Message) -> dict[str, Any]:
    try:
        document = wire.loads(message.body.encode())
    except InvalidInput:
        return {}
    return document if isinstance(document, dict) else {}


def _instant(ts: int) -> datetime:
    try:
        return datetime.fromtimestamp(ts / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _string(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _number(document: dict[str, Any], key: str) -> int:
    value = document.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _images(document: dict[str, Any]) -> list[str]:
    images = document.get("images")
    found = images if isinstance(images, list) else []
    return [image for image in found[:_MAX_IMAGES] if markup.is_data_image(image)]


@dataclass(frozen=True, slots=True)
class Image:
    content_type: str
    data: bytes


_MAGIC = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}


def image(message: Message, index: int) -> Image | None:
    """An attached image. None if there is no such one, or its bytes are of no kind that browsers
    are to show, whatever they claim to be."""
    images = _images(_document(message))
    if index >= len(images):
        return None
    try:
        data = base64.b64decode(images[index].partition(",")[2])
    except ValueError:
        return None
    for content_type, magic in _MAGIC.items():
        if magic.match(data):
            return Image(content_type, data)
    return None


def _json(text: str) -> dict[str, Any] | None:
    try:
        document = wire.loads(text.encode("utf-8", "surrogatepass"))
    except InvalidInput:
        return None
    return document if isinstance(document, dict) else None


def _block(message: Message, document: dict[str, Any]) -> _Block | None:
    if (message.type, message.kind) in _SILENT:
        return None
    text = _string(document, "text")
    if not text.strip() and not _images(document) and message.kind not in _WORDLESS:
        return None
    shape = _SHAPES.get((message.type, message.kind)) or _SHAPES.get(("", message.kind))
    return shape(text, document) if shape else _unknown(message.kind, text)


def _unknown(kind: str, text: str) -> _Block:
    return _Block("note", kind.replace("_", " "), [Part(markup.plain, text)], is_folded=True)


def _said(role: str) -> Callable[[str, dict[str, Any]], _Block]:
    def shape(text: str, document: dict[str, Any]) -> _Block:
        return _Block(role, parts=[Part(markup.markdown, text)])

    return shape


def _folded(role: str, summary: str) -> Callable[[str, dict[str, Any]], _Block]:
    def shape(text: str, document: dict[str, Any]) -> _Block:
        return _Block(role, summary, [Part(markup.markdown, text)], is_folded=True)

    return shape


def _noted(summary: str) -> Callable[[str, dict[str, Any]], _Block]:
    def shape(text: str, document: dict[str, Any]) -> _Block:
        return _Block("note", summary)

    return shape


def _tool(text: str, document: dict[str, Any]) -> _Block:
    tool = _json(text)
    if tool is None:
        return _unknown("tool", text)
    name = _string(tool, "tool")
    if name == "updateTodoList":
        return _todo_list(tool)
    verb = _VERBS.get(name, name or "Tool")
    target = next(
        (
            value
            for key in ("path", "query", "regex", "command", "mode", "skill", "content")
            if (value := _string(tool, key))
        ),
        "",
    )
    block = _Block("tool", f"{verb} {target}".strip(), is_folded=True)
    batch = [f for key in ("batchFiles", "batchDiffs", "batchDirs") for f in _list(tool, key)]
    if batch and not _string(tool, "path"):
        block.summary = f"{verb} {len(batch)} files"
    stats = tool.get("diffStats")
    if isinstance(stats, dict):
        block.added, block.removed = _number(stats, "added"), _number(stats, "removed")
    block.parts.extend(_tool_parts(name, tool))
    for entry in batch:
        if isinstance(entry, dict):
            block.parts.append(Part(markup.plain, clean_label(_string(entry, "path"), 300)))
            if content := _string(entry, "content"):
                block.parts.append(Part(markup.diff, content))
    return block


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    return value[:100] if isinstance(value, list) else []


def _tool_parts(name: str, tool: dict[str, Any]) -> list[Part]:
    content = _string(tool, "content")
    if name in ("editedExistingFile", "appliedDiff", "newFileCreated"):
        return [Part(markup.diff, content or _string(tool, "diff"))]
    if name == "readFile":
        return [Part(markup.plain, _string(tool, "reason"))] if tool.get("reason") else []
    if name in ("codebaseSearch", "searchFiles", "listFilesTopLevel", "listFilesRecursive"):
        return [Part(markup.plain, content)] if content else []
    if name in _VERBS:
        shown = [Part(markup.markdown, content)] if content else []
        return shown + (
            [Part(markup.markdown, reason)] if (reason := _string(tool, "reason")) else []
        )
    return [Part(markup.plain, json.dumps(tool, indent=2, ensure_ascii=False))]


def _todo_list(tool: dict[str, Any]) -> _Block:
    todos = [
        (_string(todo, "status") or "pending", clean_label(_string(todo, "content"), 500))
        for todo in _list(tool, "todos")[:_MAX_TODOS]
        if isinstance(todo, dict)
    ]
    done = sum(state == "completed" for state, _ in todos)
    return _Block("todo", f"To-do list, {done} of {len(todos)} done", todos=todos)


def _question(text: str, document: dict[str, Any]) -> _Block:
    asked = _json(text)
    if asked is None:
        return _Block("question", parts=[Part(markup.markdown, text)])
    suggestions = [
        clean_label(answer, 1000)
        for suggestion in _list(asked, "suggest")
        if isinstance(suggestion, dict) and (answer := _string(suggestion, "answer"))
    ]
    parts = [Part(markup.markdown, _string(asked, "question"))]
    return _Block("question", parts=parts, suggestions=suggestions)


def _command(text: str, document: dict[str, Any]) -> _Block:
    first, _, rest = text.partition("\n")
    is_cut = bool(rest) or len(first) > _LINE
    return _Block("command", first, [Part(markup.plain, text)] if is_cut else [], is_folded=True)


def _output(text: str, document: dict[str, Any]) -> _Block:
    count = text.count("\n") + 1
    return _Block("output", f"Output, {count} lines", [Part(markup.terminal, text)], is_folded=True)


def _mcp(text: str, document: dict[str, Any]) -> _Block:
    asked = _json(text)
    if asked is None:
        return _unknown("use_mcp_server", text)
    what = _string(asked, "toolName") or _string(asked, "uri")
    parts = [
        Part(markup.plain, value)
        for key in ("arguments", "response")
        if (value := _string(asked, key))
    ]
    return _Block("tool", f"MCP {_string(asked, 'serverName')}: {what}", parts, is_folded=True)


def _search_result(text: str, document: dict[str, Any]) -> _Block:
    found = _json(text)
    content = found.get("content") if found else None
    if not isinstance(content, dict):
        return _unknown("codebase_search_result", text)
    results = [r for r in _list(content, "results") if isinstance(r, dict)]
    lines = "\n".join(
        f"{_string(r, 'filePath')}:{_number(r, 'startLine')}-{_number(r, 'endLine')}"
        for r in results
    )
    return _Block(
        "tool", f"{len(results)} places found", [Part(markup.plain, lines)], is_folded=True
    )


def _condensed(text: str, document: dict[str, Any]) -> _Block:
    told = document.get("contextCondense")
    told = told if isinstance(told, dict) else {}
    before, after = _number(told, "prevContextTokens"), _number(told, "newContextTokens")
    summary = (
        f"Context condensed, {before:,} to {after:,} tokens" if before else "Context condensed"
    )
    parts = [Part(markup.markdown, value)] if (value := _string(told, "summary") or text) else []
    return _Block("note", summary, parts, is_folded=True)


def _truncated(text: str, document: dict[str, Any]) -> _Block:
    told = document.get("contextTruncation")
    told = told if isinstance(told, dict) else {}
    removed, before = _number(told, "messagesRemoved"), _number(told, "prevContextTokens")
    after = _number(told, "newContextTokens")
    summary = "Older messages were left out of the context"
    if removed:
        summary = f"{removed:,} older messages were left out of the context"
    if before:
        summary += f", {before:,} to {after:,} tokens"
    return _Block("note", summary, [Part(markup.plain, text)] if text else [], is_folded=True)


def _too_many_tools(text: str, document: dict[str, Any]) -> _Block:
    told = _json(text)
    if told is None:
        return _unknown("too_many_tools_warning", text)
    tools, servers = _number(told, "toolCount"), _number(told, "serverCount")
    summary = f"{tools} tools of {servers} MCP servers are switched on"
    if threshold := _number(told, "threshold"):
        summary += f"; more than {threshold} make a model choose badly"
    return _Block("note", summary)


_CODES = {
    "MODEL_NO_TOOLS_USED": "The model answered without using a tool; it was asked again.",
    "MODEL_NO_ASSISTANT_MESSAGES": "The model gave no answer; it was asked again.",
}


def _error(text: str, document: dict[str, Any]) -> _Block:
    return _Block("error", parts=[Part(markup.markdown, _CODES.get(text.strip(), text))])


_RETRY_TIMER = re.compile(r"<retry_timer>\s*(\d{1,6})\s*</retry_timer>")


def _delayed(text: str, document: dict[str, Any]) -> _Block:
    said = _RETRY_TIMER.sub(r"Trying again in \1 s.", text)
    return _Block(
        "error",
        "The provider failed; trying again",
        [Part(markup.markdown, said)],
        is_folded=True,
    )


_SHAPES: dict[tuple[str, str], Callable[[str, dict[str, Any]], _Block]] = {
    ("say", "text"): _said("agent"),
    ("say", "user_feedback"): _said("user"),
    ("say", "completion_result"): _said("result"),
    ("say", "subtask_result"): _folded("result", "Result of the subtask"),
    ("say", "reasoning"): _folded("thought", "Thought"),
    ("say", "command_output"): _output,
    ("say", "error"): _error,
    ("say", "diff_error"): _folded("error", "An edit did not apply"),
    ("say", "rooignore_error"): _folded("error", "An ignored file was asked for"),
    ("say", "condense_context_error"): _folded("error", "The context could not be condensed"),
    ("say", "shell_integration_warning"): _noted("Shell integration is not available"),
    ("say", "api_req_retried"): _noted("The request was sent again"),
    ("say", "api_req_retry_delayed"): _delayed,
    ("say", "api_req_deleted"): _noted("A request was deleted"),
    ("say", "checkpoint_saved"): _noted("Checkpoint saved"),
    ("say", "condense_context"): _condensed,
    ("say", "sliding_window_truncation"): _truncated,
    ("say", "too_many_tools_warning"): _too_many_tools,
    ("say", "codebase_search_result"): _search_result,
    ("say", "mcp_server_response"): _folded("output", "Answer of the MCP server"),
    ("say", "image"): _noted("An image was made in the workspace"),
    ("say", "user_feedback_diff"): _tool,
    ("say", "user_edit_todos"): _tool,
    ("", "tool"): _tool,
    ("ask", "followup"): _question,
    ("ask", "command"): _command,
    ("ask", "use_mcp_server"): _mcp,
    ("ask", "api_req_failed"): _folded("error", "The provider failed"),
    ("ask", "mistake_limit_reached"): _said("error"),
    ("ask", "auto_approval_max_req_reached"): _noted(
        "The limit of automatic approvals was reached"
    ),
}
