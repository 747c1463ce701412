"""R3: a page of another origin, in the browser of somebody who is signed in, gets no socket."""

from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

QUERY = "/socket.io/?EIO=4&clientType=web&transport="
#: The first packet of a WebSocket, or how it ended.
SOCKET = """url => new Promise(done => {
  const socket = new WebSocket(url.replace("http", "ws"));
  socket.onmessage = event => { socket.close(); done(event.data) };
  socket.onclose = event => done(`closed ${event.code}`);
})"""
POLL = """(url) => fetch(url, { credentials: "include" }).then(
  answer => answer.text(), () => "unreadable")"""
UNREADABLE = """(url) => fetch(url, { credentials: "include", mode: "no-cors" }).then(
  answer => answer.type)"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!DOCTYPE html><title>Prizes</title>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A page at another port of the same host: another origin, but the same site, so that cookies
    go along."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = Thread(target=partial(server.serve_forever, poll_interval=0.05))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_of_another_origin_opens_no_socket_with_the_cookies_of_its_visitor(
    visitor, elsewhere, alice
):
    one = visitor()
    one.sign_in(alice)
    page, url = one.page, one.base + QUERY

    page.goto(one.base + "/account")
    assert page.evaluate(SOCKET, url + "websocket").startswith('0{"sid":')
    assert page.evaluate(POLL, url + "polling").startswith('0{"sid":')

    one.elsewhere.append(elsewhere)
    page.goto(elsewhere)
    assert page.evaluate("location.origin") == elsewhere != one.base
    assert page.evaluate(SOCKET, url + "websocket") == "closed 1006"
    assert page.evaluate(POLL, url + "polling") == "unreadable"
    assert page.evaluate(UNREADABLE, url + "polling") == "opaque"
    one.complaints.clear()  # the browser's, of what was refused
