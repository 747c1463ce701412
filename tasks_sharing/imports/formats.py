"""What the files of one task say. Roo Code, Zoo Code, Kilo Code and Cline come from one another,
and keep tasks nearly alike:

- ``ui_messages.json`` (``claude_messages.json`` once): every message, as it was shown.
- ``history_item.json`` of Roo Code and Zoo Code: title, totals, mode, folder. Cline has the same of
  all tasks in ``taskHistory.json``, Roo Code in ``_index.json``. Older ones have it in the editor's
  own database, out of reach; then the messages must do.
- ``task_metadata.json`` of Cline: which model was used when.
- ``api_conversation_history.json``: what the model was sent. Of it counts what Roo Code tells it
  about itself and the folder, which nothing else says.

Everything may be missing or wrong except the messages.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import clean_label
from tasks_sharing.actions import valid_task_id
from tasks_sharing.figures import cost_nanos, count
from tasks_sharing.imports import files
from tasks_sharing.imports.files import Source, Unreadable, path_of
from tasks_sharing.imports.storing import History

#: Objects and lists in one file. Each takes thirty times its text in memory.
_MAX_NODES = 3_000_000
#: Names that Cline gives to what the others call otherwise.
_KINDS = {
    ("say", "task"): ("say", "text"),
    ("say", "command"): ("ask", "command"),
    ("say", "use_mcp_server"): ("ask", "use_mcp_server"),
    ("say", "clineignore_error"): ("say", "rooignore_error"),
    ("say", "checkpoint_created"): ("say", "checkpoint_saved"),
    ("say", "deleted_api_reqs"): ("say", "api_req_deleted"),
    ("ask", "plan_mode_respond"): ("say", "text"),
    ("ask", "act_mode_respond"): ("say", "text"),
}
#: Messages whose text counts what requests came to.
_BILLS = {"api_req_started", "api_req_deleted", "deleted_api_reqs", "subagent_usage"}
_MODE_AND_MODEL = re.compile(
    rb"<slug>([^<\\]{1,100})</slug>\\n<name>[^<]{0,300}</name>\\n<model>([^<\\]{1,200})</model>"
)
_WORKSPACE = re.compile(rb'Current Work(?:space|ing) Directory \(([^"\\]{1,500}?)\) Files')
_OVERLAP = 1000  # bytes; more than either of these matches

#: What lists beside the tasks say, by task id.
Listed = Mapping[str, Mapping[str, Any]]


def items_of(source: Source) -> Listed:
    """What lists beside the tasks say, by task id. One that cannot be read says nothing."""
    items: dict[str, Mapping[str, Any]] = {}
    for path in source.lists:
        try:
            listed = _json(files.read(source, path), path)
        except Unreadable:
            continue
        if isinstance(listed, dict):
            listed = listed.get("entries")
        for item in listed if isinstance(listed, list) else []:
            if isinstance(item, dict) and isinstance(item.get("id"), str):
                items[item["id"]] = item
    return items


def read(source: Source, folder: str, *, listed: Listed) -> History:
    """The task of a folder. listed: as ``items_of`` gives it. Raises Unreadable."""
    messages = _messages(source, folder)
    own = _optional(source, folder, files.ITEM)
    name = folder.rpartition("/")[2]
    task_id = valid_task_id(own.get("id")) or valid_task_id(name)
    if not task_id:
        raise Unreadable("Neither the folder's name nor history_item.json holds the task's id")
    item = {**listed.get(task_id, {}), **own}
    models = _models(messages, _optional(source, folder, files.METADATA))
    said = _said_to_models(source, folder) if not (item.get("mode") and models["model"]) else {}
    tokens_in, tokens_out, cost = _totals(messages)
    is_silent = not (tokens_in or tokens_out or cost)
    return History(
        task_id=task_id,
        messages=[_known(message) for message in messages],
        title=_text(item, "task", 200),
        parent_task_id=valid_task_id(item.get("parentTaskId")),
        mode=_text(item, "mode", 100) or models["mode"] or said.get("mode", ""),
        model=models["model"] or _text(item, "modelId", 200) or said.get("model", ""),
        provider=models["provider"],
        workspace=_text(item, "workspace", 500)
        or _text(item, "cwdOnTaskInitialization", 500)
        or said.get("workspace", ""),
        tokens_in=_tokens_in(item) if is_silent else tokens_in,
        tokens_out=count(item.get("tokensOut")) if is_silent else tokens_out,
        cost_nanos=cost_nanos(item.get("totalCost")) if is_silent else cost,
        is_completed=item.get("status") == "completed",
    )


def _json(body: bytes, path: str) -> Any:
    name = path.rpartition("/")[2]
    if body.count(b"{") + body.count(b"[") > _MAX_NODES:
        raise Unreadable(f"{name} holds too many values")
    try:
        return wire.loads(body.removeprefix(b"\xef\xbb\xbf"))
    except InvalidInput as refusal:
        raise Unreadable(refusal.message.replace("The body", name)) from None


def _messages(source: Source, folder: str) -> list[Any]:
    name = next(name for name in files.CONVERSATIONS if source.has(folder, name))
    messages = _json(files.read(source, path_of(folder, name)), name)
    if not isinstance(messages, list):
        raise Unreadable(f"{name} is not a list of messages")
    return messages


def _optional(source: Source, folder: str, name: str) -> dict[str, Any]:
    """A small file beside the messages; empty if it is not there, or says nothing."""
    if not source.has(folder, name):
        return {}
    path = path_of(folder, name)
    try:
        value = _json(files.read(source, path), path)
    except Unreadable:
        return {}
    return value if isinstance(value, dict) else {}


def _text(item: Mapping[str, Any], key: str, limit: int) -> str:
    value = item.get(key)
    return clean_label(value, limit) if isinstance(value, str) else ""


def _told(message: Mapping[str, Any]) -> dict[str, Any]:
    """The text of a message that is a JSON object; empty for any other."""
    text = message.get("text")
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return {}
    try:
        told = wire.loads(text.encode("utf-8", "surrogatepass"))
    except InvalidInput:
        return {}
    return told if isinstance(told, dict) else {}


def _known(message: Any) -> Any:
    """A message by the names that pages know."""
    if not isinstance(message, dict):
        return message
    type_ = message.get("type")
    kind = message.get(type_) if isinstance(type_, str) else None
    if not isinstance(kind, str):
        return message
    text = _answer(message) if kind in ("plan_mode_respond", "act_mode_respond") else None
    if kind == "followup":
        text = _question(message)
    if text is not None:
        message = {**message, "text": text}
    if renamed := _KINDS.get((str(type_), kind)):
        type_, kind = renamed
        rest = {key: value for key, value in message.items() if key not in ("ask", "say")}
        message = {**rest, "type": type_, type_: kind}
    return message


def _answer(message: Mapping[str, Any]) -> str | None:
    response = _told(message).get("response")
    return response if isinstance(response, str) else None


def _question(message: Mapping[str, Any]) -> str | None:
    """Cline offers answers as ``options``, the others as ``suggest``."""
    told = _told(message)
    options = told.get("options")
    if "suggest" in told or not isinstance(options, list):
        return None
    answers = [{"answer": option} for option in options if isinstance(option, str)]
    return wire.dumps({"question": told.get("question"), "suggest": answers})


def _models(messages: Iterable[Any], metadata: Mapping[str, Any]) -> dict[str, str]:
    """The model that was used last, of which provider and in which mode."""
    usage = metadata.get("model_usage")
    entries = (
        [entry for entry in usage if isinstance(entry, dict)] if isinstance(usage, list) else []
    )
    told = entries[-1] if entries else {}
    found = {
        "model": _text(told, "model_id", 200),
        "provider": _text(told, "model_provider_id", 100),
        "mode": _text(told, "mode", 100),
    }
    for message in messages:
        info = message.get("modelInfo") if isinstance(message, dict) else None
        if isinstance(info, dict) and (model := _text(info, "modelId", 200)):
            found = {
                "model": model,
                "provider": _text(info, "providerId", 100),
                "mode": _text(info, "mode", 100),
            }
    return found


def _tokens_in(told: Mapping[str, Any]) -> int:
    """Input tokens, cached ones included. Some versions of the clients count those apart: then the
    total would be smaller than its parts."""
    total = count(told.get("tokensIn"))
    cached = count(told.get("cacheReads")) + count(told.get("cacheWrites"))
    return total if total >= cached else total + cached


def _totals(messages: Iterable[Any]) -> tuple[int, int, int]:
    """Input tokens, output tokens and cost in nano-dollars of all requests."""
    tokens_in = tokens_out = cost = 0
    for message in messages:
        if not isinstance(message, dict):
            continue
        say = message.get("say")
        if isinstance(say, str) and say in _BILLS:
            told = _told(message)
            tokens_in += _tokens_in(told)
            tokens_out += count(told.get("tokensOut"))
            cost += cost_nanos(told.get("cost"))
        elif say == "condense_context" and isinstance(message.get("contextCondense"), dict):
            cost += cost_nanos(message["contextCondense"].get("cost"))
    return tokens_in, tokens_out, cost


def _said_to_models(source: Source, folder: str) -> dict[str, str]:
    """The last mode and model, and the folder, of the details that requests begin with."""
    if not source.has(folder, files.API_HISTORY):
        return {}
    found: dict[str, str] = {}
    try:
        for window in _windows(source.pieces(path_of(folder, files.API_HISTORY))):
            for mode, model in _MODE_AND_MODEL.findall(window):
                found |= {"mode": _decoded(mode), "model": _decoded(model)}
            if "workspace" not in found and (workspace := _WORKSPACE.search(window)):
                found["workspace"] = _decoded(workspace[1])
    except Unreadable:
        pass  # it would have been good to know
    return found


def _windows(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces that overlap, so that none cuts a match in two."""
    rest = b""
    for piece in pieces:
        window = rest + piece
        yield window
        rest = window[-_OVERLAP:]


def _decoded(value: bytes) -> str:
    return clean_label(value.decode("utf-8", "replace"), 500)
