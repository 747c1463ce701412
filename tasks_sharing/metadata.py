"""Images without what cameras and programs write into them: where a photograph was taken, when, by
whom, with what. Pure, and nothing is decoded: segments are copied or left out, in one pass.

Kept is what a browser needs to show the same picture: its data, its colours, and which way is up.
"""

import re
import struct
from collections.abc import Callable, Iterator


def without_metadata(content_type: str, data: bytes) -> bytes | None:
    """The image bare. None for one that is not built as its type is: nobody knows what is in it."""
    try:
        return b"".join(_BARE[content_type](data))
    except (IndexError, ValueError, struct.error):
        return None


def _taken(data: bytes, start: int, size: int) -> bytes:
    """So many bytes. Raises ValueError if they are not there."""
    piece = data[start : start + size]
    if len(piece) != size:
        raise ValueError("cut off")
    return piece


# --- JPEG -------------------------------------------------------------------------------------

_SCAN, _END, _EXIF = 0xDA, 0xD9, 0xE1
#: Frames, tables, scans, and the hint of how colours are stored.
_JPEG_KEPT = {*range(0xC0, 0xD0), _SCAN, 0xDB, 0xDC, 0xDD, 0xEE}
#: What ends the data of a scan: any marker but an escaped byte and the restarts within it.
_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")


def _jpeg(data: bytes) -> Iterator[bytes]:
    yield _taken(data, 0, 2)
    at = 2
    while True:
        found = _MARKER.match(data, at)
        if found is None:
            raise ValueError("no marker")
        marker, at = found[0][-1], found.end()
        if marker == _END:
            yield b"\xff\xd9"
            return
        body = _taken(data, at, struct.unpack_from(">H", data, at)[0])
        at += len(body)
        yield from _jpeg_segment(marker, body)
        if marker == _SCAN:
            end = _MARKER.search(data, at)
            yield data[at : end.start() if end else len(data)]
            if end is None:
                yield b"\xff\xd9"
                return
            at = end.start()


def _jpeg_segment(marker: int, body: bytes) -> Iterator[bytes]:
    if marker in _JPEG_KEPT or (marker == 0xE2 and body[2:].startswith(b"ICC_PROFILE\0")):
        yield bytes((0xFF, marker)) + body
    elif marker == 0xE0 and body[2:7] == b"JFIF\0":
        yield b"\xff\xe0\x00\x10JFIF\0" + _taken(body, 7, 7) + b"\0\0"  # without its thumbnail
    elif (
        marker == _EXIF and body[2:8] == b"Exif\0\0" and 2 <= (turn := _orientation(body[8:])) <= 8
    ):
        told = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, turn, 0, 0)
        yield b"\xff\xe1" + struct.pack(">H", 8 + len(told)) + b"Exif\0\0" + told


def _orientation(tiff: bytes) -> int:
    """Which way is up, as a camera wrote it; 1 if it did not."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, at)
            if tag == 0x0112:
                return int(value)
    except struct.error:
        pass
    return 1


# --- PNG --------------------------------------------------------------------------------------

_PNG_KEPT = {
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP",
    b"sBIT", b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT",
}  # fmt: skip


def _png(data: bytes) -> Iterator[bytes]:
    yield _taken(data, 0, 8)
    at, name = 8, b""
    while name != b"IEND":
        size, name = struct.unpack_from(">I4s", data, at)
        chunk = _taken(data, at, size + 12)
        at += len(chunk)
        if name in _PNG_KEPT:
            yield chunk


# --- GIF --------------------------------------------------------------------------------------


def _gif(data: bytes) -> Iterator[bytes]:
    at = 13 + _colours(data[10])
    yield _taken(data, 0, at)
    while (kind := data[at]) != 0x3B:
        if kind == 0x2C:  # an image: its place, its colours, how its data is packed
            size = 10 + _colours(data[at + 9]) + 1
        elif kind == 0x21:  # an extension, and its label
            size = 2
        else:
            raise ValueError("unknown block")
        start, at = at, at + size
        while step := data[at]:
            at += step + 1
        at += 1
        block = _taken(data, start, at - start)
        is_told = kind == 0x21 and block[1] != 0xF9 and block[3:14] != b"NETSCAPE2.0"
        if not is_told:
            yield block
    yield b"\x3b"


def _colours(flags: int) -> int:
    """Bytes of a table of colours."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


# --- WebP -------------------------------------------------------------------------------------

_WEBP_KEPT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
_TELLS_OF_METADATA = 0x08 | 0x04  # flags: there is EXIF, there is XMP


def _webp(data: bytes) -> Iterator[bytes]:
    (size,) = struct.unpack_from("<I", data, 4)
    chunks = b"".join(_riff(_taken(data, 12, size - 4)))
    yield b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _riff(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        body = _taken(data, at + 8, size)
        at += 8 + size + size % 2
        if name == b"VP8X":
            body = bytes((body[0] & ~_TELLS_OF_METADATA,)) + body[1:]
        elif name == b"ANMF":  # a frame, made of chunks after its place
            body = _taken(body, 0, 16) + b"".join(_riff(body[16:]))
        if name in _WEBP_KEPT:
            yield name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


_BARE: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/gif": _gif,
    "image/webp": _webp,
}
