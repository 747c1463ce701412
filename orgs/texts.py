"""Documents as text that people write and read: JSON or YAML."""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import yaml

from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput

Form = Literal["json", "yaml"]
#: Lines of a difference, each with its state: added, removed or empty.
Diff = list[tuple[str, str]]

MAX_CHARS = 1_000_000
_MAX_INT_DIGITS = 100
#: Words that readers of some version of YAML take for something else than text.
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})

#: What some version of YAML takes for the end of a line, or for nothing.
_BREAKS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


def form_of(file_name: str) -> Form:
    """By the ending of a file's name."""
    return "json" if file_name.lower().endswith(".json") else "yaml"


def read(text: str, form: Form) -> Any:
    """The value that a text says, as JSON knows it.

    Of YAML that is the core schema of version 1.2 without what JSON cannot say or what says one
    thing twice: dates, tags, aliases, repeated keys. So "no" and "2026-01-01" are texts.

    Raises InvalidInput with the line at fault.
    """
    if len(text) > MAX_CHARS:
        raise InvalidInput(f"is longer than {MAX_CHARS:,} characters")
    if form == "json":
        return wire.loads(text.encode("utf-8", "surrogatepass"))
    try:
        _check_events(yaml.parse(text, Loader=_Loader))
        return yaml.load(text, Loader=_Loader)  # noqa: S506  # it knows the types of JSON alone
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise InvalidInput(f"is not YAML: {fault.problem or fault.context}{where}") from None
    except (yaml.YAMLError, UnicodeError):
        raise InvalidInput("holds a character that YAML has not") from None


def write(value: Any, form: Form) -> str:
    """``value`` as a text that ``read`` reads back, with keys in order."""
    if form == "json":
        return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return yaml.dump(value, Dumper=_Dumper, allow_unicode=True, width=100, sort_keys=True)


def difference(before: Any, after: Any, form: Form = "json") -> Diff:
    """What changes, with two lines around; empty if nothing does."""
    lines = difflib.unified_diff(
        write(before, form).splitlines(), write(after, form).splitlines(), lineterm="", n=2
    )
    states = {"+": "added", "-": "removed"}
    return [(states.get(line[:1], ""), line) for line in list(lines)[2:]]


class _Loader(yaml.CSafeLoader):
    """Knows what JSON knows."""

    yaml_implicit_resolvers: dict[str, Any] = {}
    yaml_constructors: ClassVar[dict[str | None, Any]] = {}


class _Dumper(yaml.SafeDumper):
    """Quotes what any reader could take for no text, and names nothing twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _check_events(events: Iterable[yaml.Event]) -> None:
    """Before anything is built: an alias makes much of little, and depth exhausts the stack."""
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        problem = (
            "it has an alias"
            if isinstance(event, yaml.AliasEvent)
            else f"it has the tag {tag}"
            if (tag := getattr(event, "tag", None))
            else f"it is nested deeper than {wire.MAX_DEPTH} levels"
            if depth > wire.MAX_DEPTH
            else None
        )
        if problem:
            raise _fault(problem, event)


def _fault(problem: str, at: Any) -> yaml.MarkedYAMLError:
    """at: the event or node at fault."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    made = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        problem = (
            f"the key {key!r} is no text: put it in quotes"
            if not isinstance(key, str)
            else f"the key {key!r} is there twice"
            if key in made
            else None
        )
        if problem:
            raise _fault(problem, key_node)
        made[key] = loader.construct_object(value_node, deep=True)
    return made


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > _MAX_INT_DIGITS:
        raise _fault("a number is too long", node)
    return int(node.value)


def _fraction(loader: _Loader, node: yaml.ScalarNode) -> float:
    number = float(node.value)
    if number in (float("inf"), float("-inf")):
        raise _fault("a number is too large", node)
    return number


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_odd = _BREAKS.search(text) is not None
    is_plain = re.match("[A-Za-z]", text) and text.lower() not in _WORDS
    style = '"' if is_odd else "|" if "\n" in text else None if is_plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
for _tag, _pattern, _first, _construct in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""], lambda loader, node: None),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF"),
     lambda loader, node: node.value.lower() == "true"),
    ("int", r"[-+]?[0-9]+", list("-+0123456789"), _integer),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789"),
     _fraction),
):  # fmt: skip
    _name = f"tag:yaml.org,2002:{_tag}"
    _Loader.add_implicit_resolver(_name, re.compile(rf"^(?:{_pattern})$"), _first)
    _Loader.add_constructor(_name, _construct)
_Loader.add_constructor("tag:yaml.org,2002:str", lambda loader, node: node.value)
_Loader.add_constructor(
    "tag:yaml.org,2002:seq",
    lambda loader, node: [loader.construct_object(item, deep=True) for item in node.value],
)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
