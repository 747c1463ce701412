"""A chat completion as Anthropic's Messages API takes it. No I/O.

Long texts and images are passed as the JSON they came as, never decoded.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from proxy.anthropic.shapes import FORMAT, NULL, THOUGHTS, Block, opening
from proxy.calls import Call
from roocloud.lib.refusals import InvalidInput

_EMPTY = Raw(b'""')
#: A JSON string of white space alone, which is refused as a text.
_BLANK = re.compile(rb'"(?: |\\[nrtfb])*"')
_NOT_ID = re.compile(r"[^a-zA-Z0-9_-]")
_CACHED = {"type": "ephemeral"}

_GENERATION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
#: Claude without a version is a new one; what is no Claude speaks the older form of the API.
_NEWEST, _OTHER = (99, 0), (4, 0)
_FIRST_TO_THINK, _FIRST_ADAPTIVE, _FIRST_WITHOUT_SAMPLING = (3, 7), (4, 6), (4, 7)
_SAMPLING = ("temperature", "top_p", "top_k")
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh"}
#: Where thinking takes a budget: its share of the output limit, in hundredths.
_SHARES = {"low": 20, "medium": 50, "high": 80, "xhigh": 95}
_LEAST_BUDGET = 1024


class _Part(Struct):
    type: str = ""
    text: Raw = _EMPTY
    image_url: Raw = NULL


class _Image(Struct):
    url: Raw = _EMPTY


class _Function(Struct):
    name: str = ""
    arguments: str | None = None
    description: str | None = None
    parameters: Raw = NULL


class _Tool(Struct):
    function: _Function | None = None
    id: str = ""


class _Detail(Struct):
    type: str = ""
    format: str | None = None
    text: Raw = NULL
    signature: Raw = NULL
    data: Raw = NULL
    index: int | float | None = None


class _Message(Struct):
    role: str
    content: Raw = NULL
    tool_calls: list[_Tool] | None = None
    tool_call_id: str = ""
    reasoning_details: Raw = NULL


class _Reasoning(Struct):
    enabled: bool | None = None
    effort: str | None = None


_messages = msgspec.json.Decoder(list[_Message])
_parts = msgspec.json.Decoder(list[_Part])
_image = msgspec.json.Decoder(_Image)
_arguments = msgspec.json.Decoder(dict[str, Raw])
_details = msgspec.json.Decoder(list[_Detail] | None)


def request(call: Call, *, model: str, most: int, dropped: Sequence[str] = ()) -> bytes:
    """The body of ``POST /v1/messages``. See document."""
    asked: Block = {"model": model, **document(call, model=model, most=most, dropped=dropped)}
    if call.is_stream:
        asked["stream"] = True
    return msgspec.json.encode(asked)


def document(call: Call, *, model: str, most: int, dropped: Sequence[str] = ()) -> Block:
    """What is asked, wherever the model is named. Raises InvalidInput naming the field.

    model: the upstream's name for it. most: the model's limit of output tokens. Nothing of the
    client's goes along but what is named here (K2). ``strict`` of tools does not: models differ in
    which schemas they take for it, and refuse the whole request.
    """
    if call.choices != 1:
        raise InvalidInput("must be 1: this model answers once", field="n")
    fields = {name: raw for name, raw in call.fields.items() if name not in dropped}
    system, turns = _conversation(fields["messages"])
    limit = min(call.max_tokens or most, most)
    body: Block = {"max_tokens": limit, "messages": turns}
    tools = _tools(fields)
    if tools:
        body["tools"] = tools
        if choice := _tool_choice(fields):
            body["tool_choice"] = choice
    if system:
        body["system"] = system
    generation = _generation(model)
    body |= _thinking(_effort(fields), generation, body)
    if "thinking" not in body and generation < _FIRST_WITHOUT_SAMPLING:
        body |= _sampling(fields)
    if stops := _stops(fields):
        body["stop_sequences"] = stops
    _mark_cached(tools, system, turns)
    return body


def _field(fields: dict[str, Raw], name: str, kind: Any) -> Any:
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidInput("has a shape that this model does not take", field=name) from None


def _generation(model: str) -> tuple[int, int]:
    found = _GENERATION.search(model)
    if found is None:
        return _NEWEST if "claude" in model else _OTHER
    return int(found[1]), int(found[2] or 0)


def _conversation(raw: Raw) -> tuple[list[Block], list[Block]]:
    """System blocks, and turns of alternating roles."""
    try:
        messages = _messages.decode(raw)
    except (msgspec.DecodeError, RecursionError) as fault:
        raise InvalidInput(f"cannot be read: {fault}", field="messages") from None
    system: list[Block] = []
    turns: list[Block] = []
    for index, message in enumerate(messages):
        field = f"messages[{index}]"
        if message.role in ("system", "developer"):
            system += _blocks(message.content, field)
        elif message.role == "user":
            _append(turns, "user", _blocks(message.content, field))
        elif message.role == "tool":
            _append(turns, "user", [_tool_result(message, field)])
        elif message.role == "assistant":
            _append(turns, "assistant", _assistant(message, field))
        else:
            raise InvalidInput("must be system, user, assistant or tool", field=f"{field}.role")
    for turn in turns:  # results come first, right after the calls that they belong to
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    if not turns:
        raise InvalidInput("must hold something that a user says", field="messages")
    return system, turns


def _append(turns: list[Block], role: str, blocks: list[Block]) -> None:
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    elif blocks:
        turns.append({"role": role, "content": blocks})


def _blocks(content: Raw, field: str) -> list[Block]:
    """Texts that say something, and images."""
    kind = opening(content)
    if kind == b"n":  # null
        return []
    if kind == b'"':
        return _text(content)
    try:
        parts = _parts.decode(content)
    except (msgspec.DecodeError, RecursionError):
        raise InvalidInput("must be a text or a list of parts", field=f"{field}.content") from None
    blocks: list[Block] = []
    for part in parts:
        if part.type == "image_url":
            blocks.append({"type": "image", "source": _source(part.image_url, field)})
        elif part.type == "text":
            blocks += _text(part.text)
        else:
            problem = "may hold texts and images alone for this model"
            raise InvalidInput(problem, field=f"{field}.content")
    return blocks


def _text(text: Raw) -> list[Block]:
    if not _is_string(text) or _BLANK.fullmatch(memoryview(text)):
        return []
    return [{"type": "text", "text": text}]


def _source(image: Raw, field: str) -> Block:
    url = image
    if opening(image) == b"{":
        url = _image.decode(image).url
    text = bytes(url).replace(b"\\/", b"/")
    if text.startswith(b'"https://'):
        return {"type": "url", "url": Raw(text)}
    kind, comma, data = text.partition(b",")
    if not (comma and kind.startswith(b'"data:image/') and kind.endswith(b";base64")):
        raise InvalidInput("must be a data URL of an image", field=f"{field}.content")
    media_type = kind[len(b'"data:') :].partition(b";")[0].decode("latin-1")
    return {
        "type": "base64",
        "media_type": "image/jpeg" if media_type == "image/jpg" else media_type,
        "data": Raw(b'"' + data),
    }


def _tool_result(message: _Message, field: str) -> Block:
    result: Block = {"type": "tool_result", "tool_use_id": _id(message.tool_call_id)}
    if content := _blocks(message.content, field):
        result["content"] = content
    return result


def _id(given: str) -> str:
    """As Anthropic takes it: a task may have begun with a model that makes other ids."""
    return _NOT_ID.sub("_", given)


def _assistant(message: _Message, field: str) -> list[Block]:
    """Thinking stands where it stood among the texts (its index), then come the calls."""
    texts = _blocks(message.content, field)
    blocks: list[Block] = []
    for index, thought in _thoughts(message.reasoning_details):
        while texts and len(blocks) < index:
            blocks.append(texts.pop(0))
        blocks.append(thought)
    return blocks + texts + [_tool_use(call) for call in message.tool_calls or ()]


def _thoughts(raw: Raw) -> list[tuple[float, Block]]:
    """What Anthropic itself signed; nothing for what cannot be read."""
    try:
        details = _details.decode(raw) or []
    except (msgspec.DecodeError, RecursionError):
        return []
    thoughts: list[tuple[float, Block]] = []
    for detail in details:
        if detail.format != FORMAT:
            continue
        index = detail.index or 0
        if detail.type == "reasoning.encrypted" and _is_string(detail.data):
            thoughts.append((index, {"type": "redacted_thinking", "data": detail.data}))
        elif detail.type == "reasoning.text" and _is_string(detail.signature):
            text = detail.text if _is_string(detail.text) else _EMPTY
            thought = {"type": "thinking", "thinking": text, "signature": detail.signature}
            thoughts.append((index, thought))
    return thoughts


def _is_string(raw: Raw) -> bool:
    return opening(raw) == b'"'


def _tool_use(call: _Tool) -> Block:
    function = call.function or _Function()
    return {
        "type": "tool_use",
        "id": _id(call.id),
        "name": function.name,
        "input": _object(function.arguments or "{}"),
    }


def _object(arguments: str) -> Any:
    """An object, also for arguments that a model left unfinished."""
    try:
        _arguments.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return {"arguments": arguments}
    return Raw(arguments.encode())


def _tools(fields: dict[str, Raw]) -> list[Block]:
    tools = []
    for tool in _field(fields, "tools", list[_Tool] | None) or ():
        if tool.function is None:
            continue
        given = tool.function.parameters
        schema = given if opening(given) == b"{" else {"type": "object", "properties": {}}
        block: Block = {"name": tool.function.name, "input_schema": schema}
        if tool.function.description:
            block["description"] = tool.function.description
        tools.append(block)
    return tools


def _tool_choice(fields: dict[str, Raw]) -> Block | None:
    asked = _field(fields, "tool_choice", str | _Tool | None)
    parallel = _field(fields, "parallel_tool_calls", bool | None)
    choice: Block | None = None
    if isinstance(asked, _Tool) and asked.function:
        choice = {"type": "tool", "name": asked.function.name}
    elif isinstance(asked, str) and asked in ("auto", "none", "required"):
        choice = {"type": "any" if asked == "required" else asked}
    if parallel is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return choice


def _effort(fields: dict[str, Raw]) -> str | None:
    """How hard to think: a level, "" for as hard as the model likes, None for not asked."""
    asked = _field(fields, "reasoning", _Reasoning | None) or _Reasoning()
    effort = asked.effort or _field(fields, "reasoning_effort", str | None)
    if asked.enabled is False or effort == "none" or not (effort or asked.enabled):
        return None
    return _LEVELS.get(effort or "", "")


def _thinking(effort: str | None, generation: tuple[int, int], body: Block) -> Block:
    """Nothing where thinking is not asked for: what may be sent to say so differs by model.

    Newer models decide how much they think and only take an effort; older ones take a budget
    within the output limit, which is what the hold is for.
    """
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    if effort is None or forced or generation < _FIRST_TO_THINK:
        return {}
    if generation >= _FIRST_ADAPTIVE:
        thinking: Block = {"thinking": {"type": "adaptive", "display": "summarized"}}
        if effort == "xhigh" and generation < _FIRST_WITHOUT_SAMPLING:
            effort = "high"
        return thinking | ({"output_config": {"effort": effort}} if effort else {})
    limit = body["max_tokens"]
    budget = max(limit * _SHARES[effort or "medium"] // 100, _LEAST_BUDGET)
    if budget >= limit or _calls_without_thinking(body["messages"]):
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _calls_without_thinking(turns: list[Block]) -> bool:
    """Whether thinking is to go on within a turn that began without: older models refuse that."""
    last: list[Block] = next((t["content"] for t in turns[::-1] if t["role"] == "assistant"), [])
    calls = bool(last) and last[-1]["type"] == "tool_use"
    return calls and last[0]["type"] not in THOUGHTS


def _sampling(fields: dict[str, Raw]) -> Block:
    """Temperature goes before top_p, for newer models take one of the two."""
    found: Block = {}
    for name in _SAMPLING:
        value = _field(fields, name, int | None if name == "top_k" else float | None)
        if value is not None and not (name == "top_p" and "temperature" in found):
            found[name] = value if name == "top_k" else min(value, 1.0)
    return found


def _stops(fields: dict[str, Raw]) -> list[str]:
    given = _field(fields, "stop", str | list[str] | None) or []
    return [stop for stop in ([given] if isinstance(given, str) else given) if stop.strip()]


def _mark_cached(tools: list[Block], system: list[Block], turns: list[Block]) -> None:
    """The four breakpoints that one request may have: what a task's calls have in common, and its
    last two turns, so that the next call finds what this one wrote (PX6)."""
    users = [turn["content"] for turn in turns if turn["role"] == "user"]
    for blocks in (tools, system, *users[-2:]):
        if blocks:
            blocks[-1]["cache_control"] = _CACHED
