"""Money is an ``int`` of nano-dollars (10^-9 USD); floats appear only at the wire."""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from roocloud.lib.refusals import InvalidInput

NANOS_PER_USD = 10**9
#: 100 million dollars: far above any balance, far below what a 64-bit column holds.
MAX_NANOS = 10**8 * NANOS_PER_USD


def usd_to_nanos(usd: Decimal | str, *, field: str = "amount") -> int:
    """Nano-dollars of an exact USD amount.

    Raises InvalidInput (naming ``field``) for what is no number, is not finite, is finer than a
    nano-dollar, or is beyond 100 million dollars.
    """
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        raise InvalidInput(f"{usd!r} is not an amount in USD", field=field) from None
    if not amount.is_finite() or abs(amount) > MAX_NANOS // NANOS_PER_USD:
        raise InvalidInput(f"{usd} USD is out of range", field=field)
    nanos = amount * NANOS_PER_USD
    if nanos != nanos.to_integral_value():
        raise InvalidInput(f"{usd} USD is finer than a nano-dollar", field=field)
    return int(nanos)


def nanos_to_usd(nanos: int) -> float:
    """USD as the JSON number that clients read. For the wire only."""
    return nanos / NANOS_PER_USD


def nanos_to_plain_usd(nanos: int) -> str:
    """``1234.5``, exact: what a form field or a table for machines holds."""
    text = f"{Decimal(nanos) / NANOS_PER_USD:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_usd(nanos: int) -> str:
    """``$1,234.50`` for people. Below a dollar up to four decimals (``$0.0173``), below a cent up
    to six (``$0.000123``), so that the parts of a small sum add up to it."""
    amount = Decimal(nanos) / NANOS_PER_USD
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    if 0 < amount < Decimal("0.01"):
        fine = amount.quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN)
        return f"{sign}${fine.normalize():f}" if fine else f"{sign}<$0.000001"
    if amount < 1:
        told = f"{amount.quantize(Decimal('0.0001'), rounding=ROUND_HALF_EVEN)}"
        return f"{sign}${told[:4]}{told[4:].rstrip('0')}"
    return f"{sign}${amount.quantize(Decimal('0.01'), rounding=ROUND_HALF_EVEN):,}"
