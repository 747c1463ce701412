"""What the marketplace offers: modes, and MCP servers (protocol/tasks-and-telemetry.md §9).

One invalid item empties the marketplace of every editor, so items are checked like settings.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from orgs import documents, texts
from orgs.documents import Mcp, Name, Text
from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput

Group = Literal["read", "edit", "command", "mcp", "modes"]
#: What Python takes for a pattern and JavaScript does not: its groups but these, and possessive
#: repetition.
_NOT_JAVASCRIPT = re.compile(r"\(\?(?!:|=|!|<=|<!)|[*+?}]\+|(?<!\\)\\[AZ]")
MAX_ITEMS = 2_000


class Mode(documents.Object):
    """An item that installs a mode. content: YAML of the mode."""

    id: Name
    name: Name
    description: Text
    content: Annotated[str, Meta(min_length=1, max_length=100_000)]
    author: Text | UnsetType = UNSET
    author_url: Name | UnsetType = UNSET
    tags: list[Text] | UnsetType = UNSET
    prerequisites: list[Text] | UnsetType = UNSET


class _GroupOptions(Struct, rename="camel"):
    file_regex: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


class _RulesFile(Struct, rename="camel"):
    relative_path: Name
    content: Text


class _ModeConfig(Struct, rename="camel"):
    """What a client reads of a mode. Keys that are unknown stay, as in its own files of modes."""

    slug: Annotated[str, Meta(pattern="^[A-Za-z0-9-]{1,100}$")]
    name: Name
    role_definition: Annotated[str, Meta(min_length=1, max_length=100_000)]
    groups: list[Group | tuple[Group, _GroupOptions]]
    when_to_use: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    custom_instructions: str | UnsetType = UNSET
    source: Literal["global", "project"] | UnsetType = UNSET
    rules_files: list[_RulesFile] | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Item:
    """A checked item. document: as editors read it."""

    kind: Literal["mode", "mcp"]
    item_id: str
    name: str
    document: dict[str, Any]


def parse(value: Any) -> Item:
    """An item of either kind, from JSON: one with a URL of its own is an MCP server.

    A ``type``, which clients add, may be there. Raises InvalidInput naming the path.
    """
    if not isinstance(value, dict):
        raise InvalidInput("An item must be an object")
    value = dict(value)
    given = value.pop("type", None)
    kind: Literal["mode", "mcp"] = "mcp" if "url" in value else "mode"
    if given not in (None, kind):
        expected = "an MCP server has a url and a mode has none"
        raise InvalidInput(f"must be {kind}: {expected}", field="type")
    documents.check_text(value)
    item: Mcp | Mode
    if kind == "mcp":
        item = wire.convert(value, Mcp)
        documents.check_mcp(item)
    else:
        item = wire.convert(value, Mode)
        _check_mode(item)
    return Item(kind, item.id, item.name, msgspec.to_builtins(item))


def parse_list(value: Any) -> list[Item]:
    """The items of a file: ``{items: […]}`` as editors read it, a list, or one item.

    Raises InvalidInput naming the path.
    """
    if isinstance(value, dict) and "items" in value:
        value = value["items"]
    if isinstance(value, dict):
        return [parse(value)]
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise InvalidInput(f"must be a list of at most {MAX_ITEMS} items", field="items")
    items = []
    for index, one in enumerate(value):
        try:
            items.append(parse(one))
        except InvalidInput as refusal:
            path = ".".join(part for part in (f"items[{index}]", refusal.field) if part)
            raise InvalidInput(refusal.message, field=path) from None
    return items


def body(documents_: list[dict[str, Any]]) -> str:
    """The marketplace as YAML. It is never JSON as well: a client would take that for an object and
    then miss the text (trap 27)."""
    return texts.write({"items": documents_}, "yaml")


def _check_mode(mode: Mode) -> None:
    if mode.author_url is not UNSET:
        documents.check_url(mode.author_url, "authorUrl")
    try:
        config = wire.convert(texts.read(mode.content, "yaml"), _ModeConfig)
    except InvalidInput as refusal:
        where = f"{refusal.field}: " if refusal.field else ""
        raise InvalidInput(f"is no mode: {where}{refusal.message}", field="content") from None
    names = [group if isinstance(group, str) else group[0] for group in config.groups]
    if len(names) != len(set(names)):
        raise InvalidInput("is no mode: groups: one is there twice", field="content")
    for group in config.groups:
        if not isinstance(group, str) and group[1].file_regex is not UNSET:
            _check_pattern(group[1].file_regex)


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error:
        is_valid = False
    else:
        is_valid = not _NOT_JAVASCRIPT.search(pattern)
    if not is_valid:
        raise InvalidInput(f"is no mode: {pattern!r} is no pattern of editors", field="content")
