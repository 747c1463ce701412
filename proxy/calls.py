"""A chat completion as the client asks for it (protocol/proxy.md §4.1). No I/O."""

from dataclasses import dataclass
from typing import Any

from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput

MAX_CHOICES = 8
#: What chat templates and tool instructions of a provider may add to an input.
TEMPLATE_TOKENS = 1024
_MAX_OUTPUT = 10**7
#: Never forwarded: they would choose a route, a key or a host (K2).
ROUTING_PARAMETERS = frozenset(
    {"provider", "providerOptions", "models", "route", "api_key", "api_base", "base_url",
     "custom_llm_provider", "fallbacks", "transforms", "plugins", "extra_headers", "headers"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """model: as asked for. document: the whole body. size: of the body in bytes."""

    model: str
    is_stream: bool
    max_tokens: int | None
    choices: int
    document: dict[str, Any]
    size: int

    def prompt_tokens_bound(self, context_window: int) -> int:
        """Tokens that the input cannot exceed: no tokenizer makes more tokens than bytes, templates
        and a provider's own instructions add some, and no model takes more than its window."""
        return min(self.size + TEMPLATE_TOKENS, context_window)

    def prompt_tokens_estimate(self, context_window: int) -> int:
        """Tokens that the input probably is, for an upstream that does not say: four bytes each."""
        return min(-(-self.size // 4), context_window)

    def body_for(self, upstream_model: str, dropped: list[str]) -> bytes:
        """What the upstream gets: the client's body with its own name for the model, a stream that
        reports usage, and without routing fields and what that server refuses."""
        refused = ROUTING_PARAMETERS.union(dropped)
        document = {key: value for key, value in self.document.items() if key not in refused}
        document["model"] = upstream_model
        if self.is_stream:
            options = document.get("stream_options")
            document["stream_options"] = {
                **(options if isinstance(options, dict) else {}),
                "include_usage": True,
            }
        return wire.dumps(document).encode()


def read(body: bytes) -> Call:
    """Raises InvalidInput naming the field."""
    document = wire.loads(body)
    if not isinstance(document, dict):
        raise InvalidInput("The body must be a JSON object")
    model = document.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= 200:
        raise InvalidInput("must be the id of a model", field="model")
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidInput("must be a list with at least one message", field="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidInput("must be an object with a role", field=f"messages[{index}]")
    is_stream = document.get("stream", False)
    if not isinstance(is_stream, bool | None):
        raise InvalidInput("must be true or false", field="stream")
    return Call(
        model=model,
        is_stream=bool(is_stream),
        max_tokens=_whole(document, "max_tokens", _MAX_OUTPUT)
        or _whole(document, "max_completion_tokens", _MAX_OUTPUT),
        choices=_whole(document, "n", MAX_CHOICES) or 1,
        document=document,
        size=len(body),
    )


def _whole(document: dict[str, Any], field: str, limit: int) -> int | None:
    value = document.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
        raise InvalidInput(f"must be a whole number from 1 to {limit}", field=field)
    return value
