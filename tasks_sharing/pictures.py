"""Images inside of messages. Pure: what a client sent goes in, and nothing that it sent fails.

A client puts images into its messages as data URLs. What is one leaves the message and is stored
by its digest (tasks_sharing.images); a reference stays in its place.
"""

import base64
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import clean_label

#: Of one message; what is beyond stays in the message, and is not shown.
MAX_IMAGES = 20
_MAX_SIDE = 20_000
_DATA_URL = re.compile(r"data:image/(?:png|jpe?g|gif|webp);base64,([A-Za-z0-9+/=\s]+)")
#: Kinds whose text is JSON that may hold an image, under these keys.
_NESTED = {"tool": "imageData", "browser_action_result": "screenshot"}


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a message, for a page.

    path: where it is, below the path of the page that shows its message; empty for an image that
    the message only links to, at ``link``. Nothing is loaded from there: its host would learn who
    reads. width, height: pixels; None if the bytes do not say.
    """

    alt: str
    path: str = ""
    link: str = ""
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An image that was taken out of a message."""

    digest: str
    content_type: str
    data: bytes


def take_out(document: dict[str, Any], kind: str) -> tuple[dict[str, Any], list[Found]]:
    """The message without the bytes of its images, and these. kind: of its ask or say.

    A reference is an object, where clients have text: so none that a client made up is kept.
    """
    nested_in, nested = _nested(document, kind)
    given = document.get("images")
    if not isinstance(given, list):
        given = []
    if not given and nested is None:
        return document, []
    kept: list[Any] = []
    found: list[Found] = []
    for place, entry in enumerate([*given, *([nested] if nested else [])]):
        image = _read(entry) if len(found) < MAX_IMAGES else None
        if image is None:
            kept.append(None if isinstance(entry, dict) else entry)
            continue
        width, height = _size(image.content_type, image.data) or (None, None)
        reference: dict[str, Any] = {"image": image.digest, "width": width, "height": height}
        if place == len(given):
            reference["from"] = _NESTED[kind]
        kept.append(reference)
        found.append(image)
    if nested is None:
        return {**document, "images": kept}, found
    return {**document, "images": kept, "text": nested_in}, found


def digests(document: dict[str, Any]) -> set[str]:
    """Of the images that a stored message refers to."""
    images = document.get("images")
    entries = images if isinstance(images, list) else []
    return {entry["image"] for entry in entries if isinstance(entry, dict) and "image" in entry}


def put_back(document: dict[str, Any], found: Mapping[str, Found]) -> dict[str, Any]:
    """A stored message as the client sent it: take_out, undone. found: images by digest; what is
    not among them is left out."""
    text, given, nested = document.get("text"), [], False
    for entry in document["images"]:
        if not isinstance(entry, dict):
            given.append(entry)
            continue
        image = found.get(entry.get("image", ""))
        key = entry.get("from")
        nested = nested or key is not None
        if image is None:
            continue
        url = f"data:{image.content_type};base64,{base64.b64encode(image.data).decode()}"
        if key is None:
            given.append(url)
        elif isinstance(text, str) and isinstance(told := _told(text), dict):
            text = wire.dumps({**told, key: url})
    whole = {**document, "images": given}
    if text is not None:
        whole["text"] = text
    if nested and not given:
        del whole["images"]
    return whole


def _told(text: str) -> Any:
    try:
        return wire.loads(text.encode("utf-8", "surrogatepass"))
    except InvalidInput:
        return None


def _nested(document: dict[str, Any], kind: str) -> tuple[str, str | None]:
    """The text without the image in it, and that image; None if it holds none."""
    key, text = _NESTED.get(kind), document.get("text")
    if key is None or not isinstance(text, str) or "data:image/" not in text:
        return "", None
    told = _told(text)
    image = told.pop(key, None) if isinstance(told, dict) else None
    if _read(image) is None:
        return "", None
    return wire.dumps(told), image


def _read(entry: object) -> Found | None:
    """The image of a data URL; None for what is no URL of a kind that browsers are to show, or
    whose bytes are none, whatever it claims to be. SVG is a document, and never one."""
    url = _DATA_URL.fullmatch(entry) if isinstance(entry, str) else None
    if url is None:
        return None
    try:
        data = base64.b64decode(url[1])
    except ValueError:
        return None
    for content_type, magic in _MAGIC.items():
        if magic.match(data):
            return Found(sha256(data).hexdigest(), content_type, data)
    return None


def digest_at(document: dict[str, Any], index: int) -> str | None:
    """The digest of a stored message's image, by its place among them."""
    images = document.get("images")
    if not isinstance(images, list) or not 0 <= index < len(images):
        return None
    entry = images[index]
    return entry.get("image") if isinstance(entry, dict) else None


def of(message_id: int, document: dict[str, Any]) -> list[Picture]:
    """The images of a stored message, in their order."""
    return list(_pictures(message_id, document))


def _pictures(message_id: int, document: dict[str, Any]) -> Iterator[Picture]:
    images = document.get("images")
    for index, entry in enumerate(images if isinstance(images, list) else []):
        if isinstance(entry, dict):
            yield Picture(
                "Attached image",
                path=f"image/{message_id}/{index}",
                width=entry.get("width"),
                height=entry.get("height"),
            )
        elif isinstance(entry, str) and (link := _remote(entry)):
            yield Picture("Image elsewhere", link=link)


def _remote(entry: str) -> str:
    """The address of an image elsewhere; empty for what is none."""
    try:
        parts = urlsplit(entry[:2000])
    except ValueError:
        return ""
    is_web = parts.scheme in ("http", "https") and parts.netloc
    return clean_label(entry, 2000) if is_web and len(entry) <= 2000 else ""


# --- Formats ----------------------------------------------------------------------------------

_MAGIC = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}


def _size(content_type: str, data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, so that a page keeps the place; None if the bytes do not say."""
    try:
        width, height = _SIZES[content_type](data)
    except (struct.error, ValueError):
        return None
    fits = 0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE
    return (width, height) if fits else None


def _png(data: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", data, 16)


def _gif(data: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", data, 6)


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while data[at : at + 1] == b"\xff":
        marker, length = struct.unpack_from(">BH", data, at + 1)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame begins
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length
    raise ValueError("no frame")


def _webp(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        wide, high = struct.unpack_from("3s3s", data, 24)
        return int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


_SIZES = {"image/png": _png, "image/jpeg": _jpeg, "image/gif": _gif, "image/webp": _webp}
