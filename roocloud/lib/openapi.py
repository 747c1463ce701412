"""OpenAPI bodies from msgspec structs, for drf-spectacular."""

from typing import Any

import msgspec


def json_body(shape: Any) -> dict[str, Any]:
    """The JSON Schema of ``shape`` with its references inlined, as ``extend_schema`` takes it."""
    (schema,), components = msgspec.json.schema_components([shape], ref_template="{name}")
    return {"application/json": _inlined(schema, components)}


def _inlined(node: Any, components: dict[str, Any]) -> Any:
    if isinstance(node, dict):
        if "$ref" in node:
            return _inlined(components[node["$ref"]], components)
        return {
            key: _inlined(value, components)
            for key, value in node.items()
            # OpenAPI wants it non-empty or absent; a discriminator would name what is inlined.
            if (key, value) != ("required", []) and key != "discriminator"
        }
    if isinstance(node, list):
        return [_inlined(value, components) for value in node]
    return node


#: The answer of a route whose shape the protocol documents describe.
OBJECT: dict[int, Any] = {200: {"type": "object"}}


def json_answer(shape: Any) -> dict[int, Any]:
    """The answer of a route, as ``extend_schema`` takes it."""
    return {200: json_body(shape)["application/json"]}
