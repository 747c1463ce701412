"""Rules are loaded once, so that sharing scans at once in every test."""

import pytest

from tasks_sharing import previews


@pytest.fixture(autouse=True, scope="session")
def _rules(secret_rules):
    pass


@pytest.fixture
def drawn(monkeypatch):
    """The cards that were drawn."""
    cards = []
    original = previews._draw
    monkeypatch.setattr(previews, "_draw", lambda card: cards.append(card) or original(card))
    return cards
