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


def add_completions(result: dict[str, Any], generator: Any, **kwargs: Any) -> dict[str, Any]:
    """A drf-spectacular hook: completions are plain ASGI, so nothing finds them by itself."""
    result["paths"]["/proxy/v1/chat/completions"] = {"post": _COMPLETION}
    return result
