"""Rules are loaded once, so that sharing scans at once in every test."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def _rules(secret_rules):
    pass
