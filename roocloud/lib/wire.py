"""Reading what clients send: bounded, typed, and with the field named when it is wrong (F5)."""

import json
import math
import re
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

import msgspec

from roocloud.lib.refusals import InvalidInput

T = TypeVar("T")

MAX_DEPTH = 64
MAX_FORM_FIELDS = 100
_MAX_INT_DIGITS = 100


def _no_constant(name: str) -> NoReturn:
    raise InvalidInput(f"{name} is not JSON")


def _bounded_int(digits: str) -> int:
    if len(digits) > _MAX_INT_DIGITS:
        raise InvalidInput("A number in the body is too long")
    return int(digits)


def _finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):  # 1e999; no client writes it: JSON.stringify(Infinity) is null
        raise InvalidInput("A number in the body is too large")
    return number


_decoder = json.JSONDecoder(
    parse_constant=_no_constant, parse_int=_bounded_int, parse_float=_finite_float
)


def loads(body: bytes) -> Any:
    """JSON as Python objects. NUL and lone surrogates in strings are kept as they came.

    The standard decoder is used on purpose: faster ones refuse lone surrogates, which editors send
    when a terminal cuts a character in two.

    Whatever it gives, ``dumps`` takes. Raises InvalidInput for anything that is not JSON, is not
    UTF-8, nests deeper than 64, or holds a number that no client can mean.
    """
    try:
        value = _decoder.decode(body.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        raise InvalidInput("The body is not UTF-8") from None
    except RecursionError:
        raise InvalidInput("The body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(f"The body is not JSON: {error.msg} (character {error.pos})") from None
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise InvalidInput(f"The body is nested deeper than {MAX_DEPTH} levels")


def dumps(value: Any) -> str:
    """JSON text of ASCII characters alone, so that NUL and lone surrogates survive as escapes in a
    text column of either database. ``loads(dumps(x).encode())`` gives ``x`` back."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def read(body: bytes, shape: type[T]) -> T:
    """The body as a ``shape`` (a msgspec Struct or any type that msgspec knows).

    Raises InvalidInput naming the field.
    """
    return convert(loads(body), shape)


_PATH = re.compile(r"^(?P<what>.*?)(?: - at `(?P<key>key in )?\$(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>[^`]*)`")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>[^`]*)`")


def convert(value: Any, shape: type[T]) -> T:
    """``value`` (as ``loads`` gives it) checked against ``shape``; unknown fields are ignored
    unless the struct forbids them.

    Raises InvalidInput naming the field.
    """
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise named(str(error)) from None
    except UnicodeEncodeError:  # msgspec takes no lone surrogate
        raise InvalidInput("The body holds text that is no Unicode") from None


def named(message: str) -> InvalidInput:
    """The refusal for what msgspec says of a value that does not fit its shape."""
    found = _PATH.match(message)
    what, path = (found["what"], found["path"] or "") if found else (message, "")
    parts = [path.lstrip(".")] if path else []
    if inner := _MISSING.match(what) or _UNKNOWN.match(what):
        parts.append(inner["name"])
    return InvalidInput(what, field=".".join(parts) or None)


def form(body: bytes) -> dict[str, str]:
    """The fields of an ``application/x-www-form-urlencoded`` body; of a repeated field, the last.

    Raises InvalidInput for a body that is not such a form.
    """
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError:
        raise InvalidInput("The body is not a form in UTF-8") from None
    return dict(pairs)


def form_or_json(body: bytes, content_type: str) -> dict[str, Any]:
    """The fields of a small request that clients send as a form and that the guides show as JSON.

    Raises InvalidInput if it is neither, or JSON that is not an object.
    """
    if not body.strip():
        return {}
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return dict(form(body))
    value = loads(body)
    if not isinstance(value, dict):
        raise InvalidInput("The body must be a JSON object")
    return value
