"""The site's administrator, and rows to look at."""

import pytest

from tests import factories
from tests.admin.rows import fill


@pytest.fixture
def root(db):
    return factories.user("root@example.com", is_staff=True, is_superuser=True)


@pytest.fixture
def cockpit(client, root):
    client.force_login(root)
    return client


@pytest.fixture
def rows(alice, acme, client):
    fill(alice, acme)
    client.get("/api/extension-settings", headers=factories.bearer(alice))
