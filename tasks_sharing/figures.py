"""Figures that clients report: read as they mean them, and harmless whatever they are."""

import math
from decimal import Decimal

from roocloud.lib.money import MAX_NANOS, NANOS_PER_USD

_MAX_TOKENS = 10**12


def count(value: object) -> int:
    """A number of tokens; zero for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return int(min(max(value, 0), _MAX_TOKENS))


def cost_nanos(value: object) -> int:
    """A cost in USD as nano-dollars; zero for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return min(max(round(Decimal(repr(value)) * NANOS_PER_USD), 0), MAX_NANOS)
