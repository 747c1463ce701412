"""JSON and YAML that people write."""

import random
import string

import pytest

from orgs import texts
from roocloud.lib.refusals import InvalidInput

TRAPS = [
    "no", "on", "~", "null", "True", "1", "-1", "1.5", "1e3", "0x1f", "0o17", "010", "1_000", ".inf", "2026-01-01",
    "12:30:45", "", " a", "a ", "a: b", "a #b", "- a", "? a", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a", "{a", "[a",
    "'", '"', "a\nb", "a\n", "\na", " a\nb", "a \nb", "a\n\n", "\t", "a\tb", "é", "\u2028", "\x85", "\x07", "😀", "=", "<<",
    "y" * 300, "a " * 200, "#", "---", "...", ":", "https://a.example/x?y=z",
]  # fmt: skip


def test_what_is_written_is_what_is_read():
    rng = random.Random(3)  # noqa: S311 - repeatable, not secret

    def value(depth: int):
        kind = rng.randrange(7 if depth else 5)
        if kind == 5:
            return [value(depth - 1) for _ in range(rng.randrange(4))]
        if kind == 6:
            return {text(): value(depth - 1) for _ in range(rng.randrange(4))}
        return [None, rng.random() < 0.5, rng.randrange(-9, 10**9), rng.uniform(-1e9, 1e9), text()][
            kind
        ]

    def text() -> str:
        alphabet = string.printable + "é😀\x85\u2028"
        return rng.choice([*TRAPS, "".join(rng.choices(alphabet, k=rng.randrange(12)))])

    for made in [TRAPS, {trap: trap for trap in TRAPS}, *(value(4) for _ in range(300))]:
        for form in ("json", "yaml"):
            assert texts.read(texts.write(made, form), form) == made


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: no", {"a": "no"}), ("a: 2026-01-01", {"a": "2026-01-01"}), ("a: 1_000", {"a": "1_000"}),
        ("a: 0o17", {"a": "0o17"}), ("a: 1e3", {"a": 1000.0}), ("a:", {"a": None}), ("a: .inf", {"a": ".inf"}),
        ("<<: {a: 1}", {"<<": {"a": 1}}), ('{"a": [1, "x"]}', {"a": [1, "x"]}), ("", None), ("a: 007", {"a": 7}),
    ],
)  # fmt: skip
def test_yaml_says_what_json_could(text, value):
    assert texts.read(text, "yaml") == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &x 1\nb: *x", "alias (line 2"), ("a: 1\na: 2", "there twice (line 2"), ("1: 2", "no text"),
        ("!!python/object:os.system x", "tag"), ("!!binary YQ==", "tag"), ("a: !x b", "tag"), ("a: !!int x", "tag"),
        ("[" * 70 + "]" * 70, "deeper than 64"), ("[" * 100_000, "deeper than 64"), ("a: [1", "is not YAML"),
        ("\ud800: 1", "has not"), ('a: "\\ud800"', "is not YAML"), ("a: 1\n---\nb: 2", "is not YAML"),
        ("a: " + "9" * 101, "too long"), ("a: 1e999", "too large"), ("? [a]\n: 1", "no text"), ("a: \x01", "has not"),
        ("x" * 1_000_001, "longer than"),
    ],
)  # fmt: skip
def test_what_json_could_not_say_is_refused(text, why):
    """F5: with the line, and at little cost."""
    with pytest.raises(InvalidInput) as refused:
        texts.read(text, "yaml")
    assert why in refused.value.message
