"""A hundred megabytes are laid on the disk for nobody but those whose token is good (F5, D4)."""

import http.client
import tempfile
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from accounts import bearer
from tests import factories, outage

PATHS = ["/api/events", "/api/events/backfill", "//api//events"]
SIZE = 6_000_000


@pytest.fixture
def send(live_url, monkeypatch):
    """``send(path, headers)``: the status, and bytes of the body that were kept."""
    kept = []
    write = tempfile.SpooledTemporaryFile.write

    def watched(file, data):
        kept.append(len(data))
        return write(file, data)

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", watched)

    def send(path, headers, *, in_chunks=False):
        kept.clear()
        address = urlsplit(live_url)
        body = iter([b" " * (SIZE // 2)] * 2) if in_chunks else b" " * SIZE
        with closing(http.client.HTTPConnection(address.hostname, address.port)) as editor:
            editor.request("POST", path, body, {"Content-Type": "application/json", **headers})
            answer = editor.getresponse()
            answer.read()
        return answer.status, sum(kept)

    return send


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_of_a_stranger_nothing_is_kept(send, path, in_chunks):
    assert send(path, {}, in_chunks=in_chunks) == (401, 0)
    assert send(path, {"Authorization": "Bearer nobody's"}, in_chunks=in_chunks) == (401, 0)


def test_of_an_editor_it_is_taken_in(send, alice):
    assert send("/api/events", factories.bearer(alice)) == (400, SIZE)  # no JSON


def test_a_database_that_does_not_answer_is_no_reason_to_drop_an_event(send, alice):
    headers = factories.bearer(alice)
    bearer.rights_cache.clear()
    with outage.of_database():
        assert send("/api/events", headers) == (503, 0)
    assert send("/api/events", headers) == (400, SIZE)
