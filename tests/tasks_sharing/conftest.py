"""Rules are loaded once, so that sharing scans at once in every test."""

import pytest

from tasks_sharing import detection


@pytest.fixture(autouse=True, scope="session")
def _rules():
    detection.prepare()
