"""What tokens cost. Nano-dollars; prices are per million tokens; no I/O."""

from dataclasses import dataclass

_MTOK = 10**6
#: Above any real count, and low enough that every product fits a 64-bit column.
MAX_TOKENS = 10**9


@dataclass(frozen=True, slots=True)
class Rates:
    """Nano-dollars per million tokens of each class, and per image. beyond: those that hold in
    their place for a request whose whole input is more than ``above`` tokens."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    image: int = 0
    above: int = 0
    beyond: "Rates | None" = None

    @property
    def prices_tokens(self) -> bool:
        return any(
            rates.input or rates.output or rates.cache_read or rates.cache_write
            for rates in self.possible(MAX_TOKENS)
        )

    def holding(self, prompt_tokens: int) -> "Rates":
        """Those for a request of so much input."""
        return self.beyond if self.beyond and prompt_tokens > self.above else self

    def possible(self, prompt_tokens: int) -> list["Rates"]:
        """Those that may hold for a request of at most so much input."""
        return [self, self.beyond] if self.beyond and prompt_tokens > self.above else [self]

    @property
    def is_free(self) -> bool:
        return not (self.prices_tokens or self.image)


FREE = Rates(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. ``prompt`` is the whole input, cached tokens included (trap 31). ``images``: made,
    and charged by the piece."""

    prompt: int = 0
    completion: int = 0
    cache_read: int = 0
    cache_write: int = 0
    images: int = 0


NO_USAGE = Usage()


def classes(usage: Usage, rates: Rates) -> list[tuple[str, int, int]]:
    """(name, tokens, rate) of each class of tokens that is priced."""
    rates = rates.holding(usage.prompt)
    cached = usage.cache_read + usage.cache_write
    return [
        ("input", max(usage.prompt - cached, 0), rates.input),
        ("cache-read", usage.cache_read, rates.cache_read),
        ("cache-write", usage.cache_write, rates.cache_write),
        ("output", usage.completion, rates.output),
    ]


def cost_nanos(usage: Usage, rates: Rates) -> int:
    """Multiply, sum, divide once, round up: a fraction of a nano-dollar is the customer's."""
    total = sum(tokens * rate for _, tokens, rate in classes(usage, rates))
    return -(-total // _MTOK) + usage.images * rates.image


def worst_case_nanos(
    *, prompt_tokens: int, completion_tokens: int, rates: Rates, images: int = 0
) -> int:
    """The most that a request may cost: its input in the dearest class of input, at the dearest
    rates that may hold for it."""
    total = max(
        prompt_tokens * max(one.input, one.cache_read, one.cache_write)
        + completion_tokens * one.output
        for one in rates.possible(prompt_tokens)
    )
    return -(-total // _MTOK) + images * rates.image
