"""What the OpenAPI document says of routes that are not DRF views."""

from typing import Any

_COMPLETION = {
    "operationId": "chat_completions",
    "description": "An OpenAI chat completion, streamed or not, metered and charged.",
    "tags": ["proxy"],
    "security": [{"bearer": []}],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model", "messages"],
                    "properties": {
                        "model": {"type": "string"},
                        "messages": {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                "type": "object",
                                "required": ["role"],
                                "properties": {"role": {"type": "string"}},
                            },
                        },
                        "stream": {"type": "boolean"},
                        "max_tokens": {"type": "integer", "minimum": 1},
                        "temperature": {"type": "number"},
                        "tools": {"type": "array", "items": {"type": "object"}},
                    },
                }
            }
        },
    },
    "responses": {"200": {"description": "The answer, with usage.cost in USD"}},
}


_TEXT = {"type": "string"}
_ONE_OR_MORE = {"type": "integer", "minimum": 1}


def _post(operation: str, description: str, required: list[str], **properties: Any) -> Any:
    schema = {"type": "object", "required": required, "properties": properties}
    return {
        "operationId": operation,
        "description": description,
        "tags": ["proxy"],
        "security": [{"bearer": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": "The answer, as OpenAI's API gives it"}},
    }


_EMBEDDINGS = _post(
    "embeddings",
    "Embeddings, metered and charged by their input.",
    ["model", "input"],
    model=_TEXT,
    input={"oneOf": [_TEXT, {"type": "array", "minItems": 1, "items": _TEXT}]},
    encoding_format={"type": "string", "enum": ["float", "base64"]},
    dimensions=_ONE_OR_MORE,
)
_IMAGES = _post(
    "image_generations",
    "Images by a prompt, metered and charged; in the answer as PNG or JPEG.",
    ["model", "prompt"],
    model=_TEXT,
    prompt={"type": "string", "minLength": 1},
    n=_ONE_OR_MORE,
    size=_TEXT,
    quality=_TEXT,
    output_format={"type": "string", "enum": ["png", "jpeg"]},
    providerOptions={"type": "object"},
)


def add_completions(result: dict[str, Any], generator: Any, **kwargs: Any) -> dict[str, Any]:
    """A drf-spectacular hook: completions are plain ASGI, so nothing finds them by itself."""
    result["paths"]["/proxy/v1/chat/completions"] = {"post": _COMPLETION}
    result["paths"]["/proxy/v1/embeddings"] = {"post": _EMBEDDINGS}
    result["paths"]["/proxy/v1/images/generations"] = {"post": _IMAGES}
    return result
