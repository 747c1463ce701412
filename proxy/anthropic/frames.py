"""Amazon's event streams, in whose frames Anthropic's events travel on Bedrock. No I/O."""

import struct

import msgspec
from msgspec import Struct

from proxy.anthropic.answers import StreamTranslator

#: What exceptions in a stream are among Anthropic's errors; any other is an api_error.
_ERRORS = {
    "throttlingException": "rate_limit_error",
    "serviceUnavailableException": "overloaded_error",
    "modelTimeoutException": "timeout_error",
    "validationException": "invalid_request_error",
}


class _Chunk(Struct):
    bytes: bytes


class _Exception(Struct, rename="camel"):
    message: str = ""
    original_message: str = ""


_chunk = msgspec.json.Decoder(_Chunk)
_exception = msgspec.json.Decoder(_Exception)


class FrameTranslator:
    """``feed`` it frames, cut anywhere; the events in them go to ``events``."""

    def __init__(self, events: StreamTranslator) -> None:
        from botocore.eventstream import EventStreamBuffer

        self._frames = EventStreamBuffer()
        self._events = events
        self._is_broken = False

    def feed(self, data: bytes) -> bytes:
        """The chunks of the events whose frames are complete."""
        from botocore.eventstream import ParserError

        if self._is_broken:
            return b""
        lines: list[bytes] = []
        try:
            self._frames.add_data(data)
            lines.extend(_line(f.headers, f.payload) for f in self._frames)
        except (ParserError, struct.error, LookupError, ValueError):
            self._is_broken = True
            lines.append(_error("api_error", "A part of the stream cannot be read"))
        return self._events.feed(b"".join(lines))

    def finish(self) -> bytes:
        """What is left to say when the upstream has ended."""
        return self._events.finish()


def _line(headers: dict[str, object], payload: bytes) -> bytes:
    """A frame as a line of Anthropic's stream. Raises ValueError."""
    kind = headers.get(":message-type")
    if kind == "exception":
        said = _exception.decode(payload or b"{}")
        name = _ERRORS.get(str(headers.get(":exception-type")), "api_error")
        return _error(name, said.message or said.original_message or "The model failed")
    if kind == "error":
        return _error("api_error", str(headers.get(":error-message", "The model failed")))
    if headers.get(":event-type") != "chunk":
        return b""
    return b"data: " + _chunk.decode(payload).bytes.replace(b"\n", b" ") + b"\n"


def _error(kind: str, message: str) -> bytes:
    event = {"type": "error", "error": {"type": kind, "message": message}}
    return b"data: " + msgspec.json.encode(event) + b"\n"
