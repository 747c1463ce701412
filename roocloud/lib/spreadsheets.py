"""Tables as CSV, which people open in spreadsheets."""

import csv
import io
from collections.abc import Iterable


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """The rows as lines of CSV. Spreadsheets run text that begins like a formula: such gets an
    apostrophe before it."""
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value
