"""What ``settings`` and ``versionedSettings`` of a model may hold (protocol/proxy.md §3).

Clients lay them over what they know of a model, and throw their whole stored list away over one bad
value, so keys and values are checked before they are served.
"""

import re
from typing import Any, Literal

import msgspec
from django.core.exceptions import ValidationError
from msgspec import UNSET, UnsetType

from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput

_Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
_EffortChoice = Literal["disable", "none", "minimal", "low", "medium", "high", "xhigh"]
_VERSION = re.compile(r"^\d{1,5}\.\d{1,5}\.\d{1,5}$", re.ASCII)


class _Closed(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    pass


class _Tier(_Closed):
    context_window: float
    name: Literal["default", "flex", "priority"] | UnsetType = UNSET
    input_price: float | UnsetType = UNSET
    output_price: float | UnsetType = UNSET
    cache_writes_price: float | UnsetType = UNSET
    cache_reads_price: float | UnsetType = UNSET


class _ModelSettings(_Closed):
    """Prices are USD per million tokens."""

    max_tokens: float | UnsetType | None = UNSET
    max_thinking_tokens: float | UnsetType | None = UNSET
    context_window: float | UnsetType = UNSET
    supports_images: bool | UnsetType = UNSET
    supports_prompt_cache: bool | UnsetType = UNSET
    prompt_cache_retention: Literal["in_memory", "24h"] | UnsetType = UNSET
    supports_verbosity: bool | UnsetType = UNSET
    supports_reasoning_budget: bool | UnsetType = UNSET
    supports_reasoning_binary: bool | UnsetType = UNSET
    required_reasoning_budget: bool | UnsetType = UNSET
    supports_reasoning_effort: bool | list[_EffortChoice] | UnsetType = UNSET
    required_reasoning_effort: bool | UnsetType = UNSET
    reasoning_effort: _Effort | UnsetType = UNSET
    preserve_reasoning: bool | UnsetType = UNSET
    supports_temperature: bool | UnsetType = UNSET
    default_temperature: float | UnsetType = UNSET
    included_tools: list[str] | UnsetType = UNSET
    excluded_tools: list[str] | UnsetType = UNSET
    input_price: float | UnsetType = UNSET
    output_price: float | UnsetType = UNSET
    cache_writes_price: float | UnsetType = UNSET
    cache_reads_price: float | UnsetType = UNSET
    long_context_pricing: dict[str, Any] | UnsetType = UNSET
    tiers: list[_Tier] | UnsetType = UNSET
    is_free: bool | UnsetType = UNSET
    is_stealth_model: bool | UnsetType = UNSET
    deprecated: bool | UnsetType = UNSET
    description: str | UnsetType = UNSET


def check_settings(value: object) -> None:
    """A validator. Raises ValidationError naming the key."""
    try:
        wire.convert(value, _ModelSettings)
    except InvalidInput as refusal:
        where = f"{refusal.field}: " if refusal.field else ""
        raise ValidationError(f"{where}{refusal.message}") from None


def check_versioned_settings(value: object) -> None:
    """A validator: settings by the client version from which they count. Raises ValidationError
    naming the version or the key."""
    if not isinstance(value, dict):
        raise ValidationError('Must be an object such as {"3.36.4": {"supportsImages": true}}.')
    for version, settings in value.items():
        if not _VERSION.match(version):
            raise ValidationError(f"{version}: must be a version such as 3.36.4.")
        try:
            check_settings(settings)
        except ValidationError as refusal:
            raise ValidationError(f"{version}: {refusal.message}") from None
