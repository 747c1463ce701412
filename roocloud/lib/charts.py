"""Charts that the server draws: bars of an SVG, which need no script and no style of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

#: Units of the drawing, which is scaled to its place.
WIDTH, HEIGHT = 240, 56
_GAP = 2.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One column. bad: how high the part of it is that went wrong, from the bottom. label: what it
    says to who points at it."""

    x: float
    width: float
    y: float
    height: float
    bad_y: float
    bad_height: float
    label: str


def bars(values: Sequence[float], labels: Sequence[str], *, bad: Sequence[float] = ()) -> list[Bar]:
    """A bar for each value, the highest of all as high as the drawing. bad: which part of each
    value went wrong, no more than the value; empty for none of any."""
    top = max([*values, 0]) or 1
    step = WIDTH / max(len(values), 1)
    found = []
    for index, (value, label) in enumerate(zip(values, labels, strict=True)):
        height = round(value / top * HEIGHT, 1)
        wrong = round((bad[index] if bad else 0) / top * HEIGHT, 1)
        found.append(
            Bar(
                x=round(index * step, 1),
                width=round(max(step - _GAP, 1), 1),
                y=round(HEIGHT - height, 1),
                height=height,
                bad_y=round(HEIGHT - wrong, 1),
                bad_height=wrong,
                label=label,
            )
        )
    return found
