"""The geometry of a chart of stacked columns. No I/O: numbers in, places in a box out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

#: The box that a chart is drawn in; it is stretched to where it stands.
WIDTH, HEIGHT = 1000, 240
SPARK_WIDTH, SPARK_HEIGHT = 100, 24
#: Parts of a column that have a colour of their own; the rest is one.
MOST_SERIES = 8
_TICKS = 4
#: A line that stands higher than so many times the highest column would flatten the columns.
_TALLEST_LINE = 2


@dataclass(frozen=True, slots=True)
class Series:
    """What each column has a part of. values: one for each column, zero or more."""

    name: str
    values: Sequence[int]
    number: int = 1  # of its colour; zero for what is left over

    @property
    def total(self) -> int:
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Rect:
    number: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    label: str
    query: str  # what leads to its rows
    title: str
    total: str
    x: float
    width: float
    parts: Sequence[Rect]


@dataclass(frozen=True, slots=True)
class Line:
    """A limit drawn across. y: None if it is too high to be drawn."""

    label: str
    y: float | None


@dataclass(frozen=True, slots=True)
class Chart:
    columns: Sequence[Column]
    series: Sequence[Series]
    ticks: Sequence[str]  # from the top down to zero
    lines: Sequence[Line] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT


def largest(series: Sequence[Series]) -> list[Series]:
    """The largest ones, coloured, and the rest as one."""
    ranked = sorted(series, key=lambda one: (-one.total, one.name))
    kept = [
        Series(one.name, one.values, number)
        for number, one in enumerate(ranked[:MOST_SERIES], start=1)
    ]
    if rest := ranked[MOST_SERIES:]:
        sums = [sum(values) for values in zip(*(one.values for one in rest), strict=True)]
        kept.append(Series(f"{len(rest)} others", sums, 0))
    return kept


def stacked(
    labels: Sequence[tuple[str, str]],
    series: Sequence[Series],
    *,
    limits: Sequence[tuple[str, int]],
    written: Callable[[int], str],
) -> Chart:
    """labels: (what a column is called, what leads to its rows). limits: lines across, by name.
    written: a value as people read it."""
    sums = [sum(values) for values in zip(*(one.values for one in series), strict=True)]
    highest = max(sums, default=0)
    shown = [value for _, value in limits if value <= highest * _TALLEST_LINE]
    top = round_up(max([highest, *(value * 21 // 20 for value in shown)]))  # no line at the edge
    step = WIDTH / max(len(labels), 1)
    gap = min(step * 0.2, 6)
    columns = []
    for index, (label, query) in enumerate(labels):
        parts, y = [], float(HEIGHT)
        for one in series:
            if height := one.values[index] / top * HEIGHT:
                y -= height
                parts.append(Rect(one.number, round(y, 2), round(height, 2)))
        title = _title(label, sums[index], [(s.name, s.values[index]) for s in series], written)
        x = round(index * step + gap / 2, 2)
        columns.append(
            Column(label, query, title, written(sums[index]), x, round(step - gap, 2), parts)
        )
    lines = [
        Line(f"{name}: {written(value)}", _height(value, top) if value in shown else None)
        for name, value in limits
    ]
    ticks = [written(top * tick // _TICKS) for tick in range(_TICKS, -1, -1)]
    return Chart(columns, series, ticks, lines)


def _height(value: int, top: int) -> float:
    return round(HEIGHT - value / top * HEIGHT, 2)


def _title(
    label: str, total: int, parts: Sequence[tuple[str, int]], written: Callable[[int], str]
) -> str:
    """What a pointer over a column shows."""
    lines = [f"{label}: {written(total)}"]
    if len(parts) > 1:
        lines += [f"{name}: {written(value)}" for name, value in parts if value]
    return "\n".join(lines)


def round_up(value: int) -> int:
    """To one digit and zeros, so that each quarter of it is a round number too."""
    size = 1
    while True:
        for digit in (1, 2, 4, 6, 8):
            if digit * size >= value and digit * size % _TICKS == 0:
                return digit * size
        size *= 10


def spark(values: Sequence[int]) -> str:
    """The points of a line in a box of SPARK_WIDTH by SPARK_HEIGHT; empty for fewer than two."""
    if len(values) < 2:
        return ""
    top, step = max(max(values), 1), SPARK_WIDTH / (len(values) - 1)
    return " ".join(
        f"{index * step:.1f},{SPARK_HEIGHT - 2 - value / top * (SPARK_HEIGHT - 4):.1f}"
        for index, value in enumerate(values)
    )
