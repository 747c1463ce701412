"""I1: what Django says of a request holds neither its query string nor a link that opens things."""

import io
import json
import logging

import pytest

from roocloud.lib.ids import new_id, new_secret
from roocloud.logs import JsonFormatter, WithoutSecrets


@pytest.fixture
def written():
    """What production's handler writes of Django's records."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(WithoutSecrets())
    logger = logging.getLogger("django.request")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


@pytest.mark.parametrize("path", ["/share/{}", "/share/{}/more", "/invitations/{}", "/x?ticket={}"])
def test_a_refused_address_is_logged_without_its_secret(client, db, written, path):
    secret = new_secret("s")
    assert client.get(path.format(secret)).status_code in (302, 404)
    client.get(f"/nothing{path.format(secret)}")
    line = json.loads(written.getvalue().splitlines()[-1])
    assert secret not in written.getvalue()
    assert line["message"].startswith("Not Found: /nothing/")
    assert line["status_code"] == "404"


def test_ids_stay(client, db, written):
    known = new_id("share")
    client.get(f"/nothing/{known}")
    assert known in written.getvalue()
