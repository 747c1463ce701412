"""The messages of a conversation as blocks: a shape for each say and ask kind of the client's
schema, old and new (protocol/tasks-and-telemetry.md §2.1). Pure and total: a kind or a text that
nobody knows becomes text."""

import re
from typing import Any

from roocloud.lib.text import clean_label
from tasks_sharing import markup, tools
from tasks_sharing.blocks import (
    Block,
    Shape,
    Suggestion,
    counted,
    indented,
    label,
    line_count,
    number,
    objects,
    parsed,
    string,
)
from tasks_sharing.highlighting import language_of
from tasks_sharing.markup import Part

#: Messages that say what they say outside of their text.
_WORDLESS = {
    "condense_context", "sliding_window_truncation", "resume_task", "resume_completed_task",
    "mcp_server_request_started", "api_req_retried", "api_req_deleted", "checkpoint_saved",
    "shell_integration_warning", "browser_session_status",
}  # fmt: skip


def block_of(
    type_: str, kind: str, document: dict[str, Any], *, has_images: bool, is_prompt: bool
) -> Block | None:
    """The block of a message; None for one that has nothing to see, such as an empty text."""
    text = string(document, "text")
    if not text.strip() and not has_images and kind not in _WORDLESS:
        return None
    shape = SHAPES.get((type_, kind)) or SHAPES.get(("", kind))
    if is_prompt:
        shape = _said("prompt")
    block = shape(text, document) if shape else _unknown(kind, text)
    if block and not block.source:
        block.source = text
    return block


def _unknown(kind: str, text: str) -> Block:
    verb = clean_label(kind.replace("_", " "), 64) or "Message"
    return Block("unknown", verb, parts=[("", Part(markup.plain, text))])


def _said(form: str) -> Shape:
    def shape(text: str, document: dict[str, Any]) -> Block:
        return Block(form, parts=[("", Part(markup.markdown, text))])

    return shape


def _folded(form: str, verb: str) -> Shape:
    def shape(text: str, document: dict[str, Any]) -> Block:
        parts = [("", Part(markup.markdown, text))] if text.strip() else []
        return Block(form, verb, parts=parts)

    return shape


def _noted(verb: str) -> Shape:
    def shape(text: str, document: dict[str, Any]) -> Block:
        return Block("note", verb)

    return shape


def _thought(text: str, document: dict[str, Any]) -> Block:
    first = clean_label(re.sub(r"[*_#`]+", "", text), 140)
    return Block("thought", "Thought", hint=first, parts=[("", Part(markup.markdown, text))])


# --- Requests ---------------------------------------------------------------------------------


def _request(text: str, document: dict[str, Any]) -> Block | None:
    """A request to the model: what it cost, if the editor told, and how it ended."""
    told = parsed(text) or {}
    tokens_in, tokens_out = number(told, "tokensIn"), number(told, "tokensOut")
    meter = []
    if tokens_in or tokens_out:
        meter = [f"{tokens_in:,} in", f"{tokens_out:,} out"]
    if cached := number(told, "cacheReads"):
        meter.append(f"{cached:,} cached")
    cost = told.get("cost")
    if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 < cost < 10**6:
        meter.append(f"${cost:.4f}")
    reason = string(told, "cancelReason")
    failure = string(told, "streamingFailedMessage")
    if reason == "user_cancelled":
        return Block("request", "Request cancelled by the user", meter=meter)
    if reason or failure:
        parts = [("", Part(markup.plain, failure))] if failure else []
        return Block("error", "The answer broke off", parts=parts, state="bad", is_open=True)
    return Block("request", "Request", meter=meter) if meter else None


_RETRY_TIMER = re.compile(r"<retry_timer>\s*(\d{1,6})\s*</retry_timer>")


def _delayed(text: str, document: dict[str, Any]) -> Block:
    said = _RETRY_TIMER.sub(r"Trying again in \1 s.", text)
    first = clean_label(said, 100)
    return Block(
        "retry",
        "The provider failed; trying again",
        hint=first,
        parts=[("", Part(markup.plain, said))],
    )


def _rate_limited(text: str, document: dict[str, Any]) -> Block:
    seconds = number(parsed(text) or {}, "seconds")
    wait = f"{seconds} s" if seconds else ""
    return Block("retry", "Waiting for the rate limit", hint=wait)


_CODES = {
    "MODEL_NO_TOOLS_USED": "The model answered without using a tool; it was asked again.",
    "MODEL_NO_ASSISTANT_MESSAGES": "The model gave no answer; it was asked again.",
}


_ERROR_TAGS = re.compile(r"</?error(?:_details)?>")


def _error(verb: str) -> Shape:
    def shape(text: str, document: dict[str, Any]) -> Block:
        said = _CODES.get(text.strip()) or _ERROR_TAGS.sub("", text).strip()
        part = Part(markup.markdown, said)
        return Block("error", verb, parts=[("", part)], state="bad", is_open=True)

    return shape


# --- Questions, commands, servers -------------------------------------------------------------


def _question(text: str, document: dict[str, Any]) -> Block:
    asked = parsed(text)
    if asked is None:
        return Block("question", parts=[("", Part(markup.markdown, text))])
    question = string(asked, "question")
    suggestions = [
        Suggestion(clean_label(answer, 1000), label(entry, "mode"))
        for entry in objects(asked, "suggest")
        if (answer := string(entry, "answer"))
    ]
    parts = [("", Part(markup.markdown, question))]
    return Block("question", parts=parts, suggestions=suggestions, source=question)


def _command(text: str, document: dict[str, Any]) -> Block:
    is_long = "\n" in text.strip() or len(text) > 80
    parts = [("", Part(markup.code, text, "bash"))] if is_long else []
    return Block("command", "Run", clean_label(text, 300), parts=parts)


def _output(text: str, document: dict[str, Any]) -> Block:
    lines, parts = line_count(text), [("", Part(markup.terminal, text))]
    return Block("output", "Output", hint=counted(lines, "line"), parts=parts, lines=lines)


def _pretty(text: str) -> Part:
    """JSON with indents; other text as it is."""
    document = parsed(text)
    if document is None:
        return Part(markup.plain, text)
    return Part(markup.code, indented(document), "json")


def _mcp(text: str, document: dict[str, Any]) -> Block:
    asked = parsed(text)
    if asked is None:
        return Block("mcp", "MCP", parts=[("", Part(markup.plain, text))])
    what = label(asked, "toolName") or label(asked, "uri")
    block = Block("mcp", f"MCP {label(asked, 'serverName')}".strip(), what)
    for heading, key in (("Arguments", "arguments"), ("Answer", "response")):
        if value := string(asked, key):
            block.parts.append((heading, _pretty(value)))
    return block


def _mcp_answer(text: str, document: dict[str, Any]) -> Block:
    hint = counted(line_count(text), "line")
    return Block("mcp", "Answer of the MCP server", hint=hint, parts=[("", _pretty(text))])


_BROWSER_ACTIONS = {
    "launch": "Open", "click": "Click", "hover": "Hover", "type": "Type", "press": "Press",
    "scroll_down": "Scroll down", "scroll_up": "Scroll up", "resize": "Resize", "close": "Close",
    "screenshot": "Screenshot",
}  # fmt: skip


def _browser_launch(text: str, document: dict[str, Any]) -> Block:
    return Block("browser", "Browse", clean_label(text, 300))


def _browser_action(text: str, document: dict[str, Any]) -> Block:
    told = parsed(text)
    if told is None:
        return Block("browser", "Browser", clean_label(text, 300))
    action = label(told, "action")
    target = label(told, "text") or label(told, "coordinate") or label(told, "size")
    return Block("browser", _BROWSER_ACTIONS.get(action, action or "Browser"), target)


def _browser_result(text: str, document: dict[str, Any]) -> Block:
    told = parsed(text)
    if told is None:
        return Block("browser", "Browser", parts=[("", Part(markup.plain, text))])
    block = Block(
        "browser", "Browser", label(told, "currentUrl"), label(told, "currentMousePosition")
    )
    if logs := string(told, "logs"):
        block.parts = [("Console", Part(markup.terminal, logs))]
    return block


# --- Files and context ------------------------------------------------------------------------


def _search_result(text: str, document: dict[str, Any]) -> Block:
    found = parsed(text)
    content = found.get("content") if found else None
    if not isinstance(content, dict):
        return Block("search", "Search the codebase", parts=[("", Part(markup.plain, text))])
    results = objects(content, "results")
    block = Block(
        "search", "Search the codebase", label(content, "query"), counted(len(results), "result")
    )
    for result in results:
        path, first = label(result, "filePath"), number(result, "startLine")
        chunk = string(result, "codeChunk")
        language = language_of(path)
        block.parts.append(
            (f"{path}:{first}" if first else path, Part(markup.code, chunk, language))
        )
    return block


def _condensed(text: str, document: dict[str, Any]) -> Block:
    told = document.get("contextCondense")
    told = told if isinstance(told, dict) else {}
    before, after = number(told, "prevContextTokens"), number(told, "newContextTokens")
    block = Block("context", "Context condensed")
    if before:
        block.hint = f"{before:,} to {after:,} tokens"
    if summary := string(told, "summary") or text:
        block.parts = [("", Part(markup.markdown, summary))]
    return block


def _truncated(text: str, document: dict[str, Any]) -> Block:
    told = document.get("contextTruncation")
    told = told if isinstance(told, dict) else {}
    removed, before = number(told, "messagesRemoved"), number(told, "prevContextTokens")
    after = number(told, "newContextTokens")
    block = Block("context", "Older messages were left out of the context")
    if removed:
        block.verb = f"{removed:,} older messages were left out of the context"
    if before:
        block.hint = f"{before:,} to {after:,} tokens"
    if text:
        block.parts = [("", Part(markup.plain, text))]
    return block


def _too_many_tools(text: str, document: dict[str, Any]) -> Block:
    told = parsed(text)
    if told is None:
        return Block("note", "Many tools are switched on", parts=[("", Part(markup.plain, text))])
    tool_count, servers = number(told, "toolCount"), number(told, "serverCount")
    said = f"{tool_count} tools of {servers} MCP servers are switched on"
    if threshold := number(told, "threshold"):
        said += f"; more than {threshold} make a model choose badly"
    return Block("note", said)


def _checkpoint(text: str, document: dict[str, Any]) -> Block | None:
    told = document.get("checkpoint")
    if isinstance(told, dict) and told.get("suppressMessage") is True:
        return None
    return Block("checkpoint", "Checkpoint", clean_label(text, 80)[:12])


def _image(text: str, document: dict[str, Any]) -> Block:
    """Its text has paths of the author's computer, which stay there."""
    path = string(parsed(text) or {}, "imagePath").replace("\\", "/").rpartition("/")[2]
    block = Block("image", "Image", clean_label(path, 100))
    block.source = block.target or "Image"
    return block


SHAPES: dict[tuple[str, str], Shape] = {
    ("say", "text"): _said("reply"),
    ("say", "user_feedback"): _said("prompt"),
    ("say", "completion_result"): _said("result"),
    ("ask", "completion_result"): _said("result"),
    ("say", "subtask_result"): _folded("subtask", "Result of the subtask"),
    ("say", "reasoning"): _thought,
    ("", "tool"): tools.tool,
    ("say", "user_feedback_diff"): tools.user_edit,
    ("say", "user_edit_todos"): tools.tool,
    ("ask", "followup"): _question,
    ("ask", "command"): _command,
    ("", "command_output"): _output,
    ("ask", "use_mcp_server"): _mcp,
    ("say", "mcp_server_request_started"): _noted("Asking the MCP server"),
    ("say", "mcp_server_response"): _mcp_answer,
    ("ask", "browser_action_launch"): _browser_launch,
    ("say", "browser_action"): _browser_action,
    ("say", "browser_action_result"): _browser_result,
    ("say", "browser_session_status"): _folded("browser", "Browser session"),
    ("say", "api_req_started"): _request,
    ("say", "api_req_finished"): _request,
    ("say", "api_req_retried"): _noted("The request was sent again"),
    ("say", "api_req_retry_delayed"): _delayed,
    ("say", "api_req_rate_limit_wait"): _rate_limited,
    ("say", "api_req_deleted"): _noted("A request was deleted"),
    ("ask", "api_req_failed"): _error("The provider failed"),
    ("ask", "mistake_limit_reached"): _error("Too many mistakes in a row"),
    ("ask", "auto_approval_max_req_reached"): _noted("The limit of approvals was reached"),
    ("ask", "resume_task"): _noted("The task was interrupted here"),
    ("ask", "resume_completed_task"): _noted("The task was opened again"),
    ("say", "error"): _error("Error"),
    ("say", "diff_error"): _error("An edit did not apply"),
    ("say", "rooignore_error"): _error("An ignored file was asked for"),
    ("say", "condense_context_error"): _error("The context could not be condensed"),
    ("say", "shell_integration_warning"): _noted("Shell integration is not available"),
    ("say", "checkpoint_saved"): _checkpoint,
    ("say", "condense_context"): _condensed,
    ("say", "sliding_window_truncation"): _truncated,
    ("say", "too_many_tools_warning"): _too_many_tools,
    ("say", "codebase_search_result"): _search_result,
    ("say", "image"): _image,
}  # fmt: skip
