"""Made images, as editors take them (protocol/proxy.md §5): PNG or JPEG, within the answer.

Upstreams give some as a link, which the editor's tool refuses; those are fetched here. There is no
converter for WebP, so it is refused with a word on how to get another format.
"""

import base64
from binascii import Error as BadBase64
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from proxy.upstream_errors import UpstreamRefused
from roocloud.lib import outbound

#: Bytes of all images of one answer that are fetched, and seconds for one of them.
MAX_BYTES = 32 * 2**20
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=outbound.CONNECT_S)
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_HEAD = 16


async def deliverable(body: bytes, *, upstream: str, base_url: str, most: int) -> bytes:
    """The upstream's answer with images in it; unchanged, if they are there already.

    upstream: its name. base_url: its own; a link is https or leads there. most: how many were asked
    for. Raises UpstreamRefused.
    """
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    made = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(made, list):
        return body
    entries = [entry for entry in made if isinstance(entry, dict)][:most]
    left, is_changed = MAX_BYTES, False
    for entry in entries:
        head = _head(entry)
        if head is not None:
            _check(head, upstream)
        elif isinstance(url := entry.get("url"), str):
            image = await _fetched(url, upstream=upstream, base_url=base_url, most=left)
            left -= len(image)
            entry["b64_json"] = base64.b64encode(image).decode()
            del entry["url"]
            is_changed = True
    if not is_changed:
        return body
    answer["data"] = entries
    return msgspec.json.encode(answer)


def _head(entry: dict[str, Any]) -> bytes | None:
    """How an image begins that is in the answer; None if none is."""
    text, url = entry.get("b64_json"), entry.get("url")
    if not isinstance(text, str):
        if not isinstance(url, str) or not url.startswith("data:"):
            return None
        text = url.partition(",")[2]
    try:
        return base64.b64decode(text[: _HEAD // 4 * 4 + 4])
    except (BadBase64, ValueError):
        return b""


def _check(head: bytes, upstream: str) -> None:
    if head.startswith((_PNG, _JPEG)):
        return
    if head[:4] == b"RIFF" and head[8:11] == b"WEB":
        message = (
            f"The upstream {upstream} made a WebP image, which editors do not take. "
            "Set output_format to png."
        )
        raise UpstreamRefused(422, "unsupported_image", message)
    message = f"The upstream {upstream} made what is neither a PNG nor a JPEG image"
    raise UpstreamRefused(502, "upstream_failed", message)


async def _fetched(url: str, *, upstream: str, base_url: str, most: int) -> bytes:
    """No key goes along, and outbound looks at the address (K1)."""
    fault = UpstreamRefused(
        502, "upstream_failed", f"The image that the upstream {upstream} made cannot be fetched"
    )
    if not _may_fetch(url, base_url):
        raise fault
    try:
        async with outbound.session().get(
            url,
            allow_redirects=False,
            timeout=_TIMEOUT,
            headers={"Accept": "image/png, image/jpeg", "Accept-Encoding": "identity"},
        ) as response:
            if response.status != 200:
                raise fault
            parts, size = [], 0
            async for data in response.content.iter_any():
                parts.append(data)
                size += len(data)
                if size > most:
                    raise UpstreamRefused(502, "upstream_failed", "The image is too large")
    except (aiohttp.ClientError, OSError, TimeoutError) as cause:
        raise fault from cause
    image = b"".join(parts)
    _check(image[:_HEAD], upstream)
    return image


def _may_fetch(url: str, base_url: str) -> bool:
    """Encrypted, or at the upstream itself, as a server inside a network gives it."""
    try:
        parts, own = urlsplit(url), urlsplit(base_url)
    except ValueError:
        return False
    if parts.username or parts.password or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
