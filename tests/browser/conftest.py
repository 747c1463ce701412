"""Chromium, at the sizes of a phone and of a desk."""

import shutil
from pathlib import Path

import pytest
from django.test import Client
from playwright.sync_api import sync_playwright

_FITS = """width => document.readyState === "complete"
    && document.documentElement.scrollWidth <= width"""
SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
SIZES = {"phone": {"width": 390, "height": 844}, "desk": {"width": 1440, "height": 900}}


class Visitor:
    """A browser of its own. complaints: what its console and network said that should not be.
    elsewhere: other origins that it may visit."""

    def __init__(self, browser, base, name, size, scheme, **context):
        self.base = base
        self.name = name
        self.context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, **context)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", lambda m: self._note(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("request", self._watch)

    def sign_in(self, person) -> None:
        """Without the pages of signing in, which tests of their own walk."""
        client = Client()
        client.force_login(person)
        session = client.cookies["roocloud_session"].value
        self.context.add_cookies([{"name": "roocloud_session", "value": session, "url": self.base}])

    def _note(self, text: str) -> None:
        self.complaints.append(text)

    def _watch(self, request) -> None:
        if not request.url.startswith((self.base, "data:", "vscode://", *self.elsewhere)):
            self._note(f"asked {request.url}")

    def go(self, path: str):
        self.page.goto(path if path.startswith("http") else self.base + path)
        return self.look(path)

    def look(self, label: str, *, is_whole: bool = True):
        """Keep a screenshot, of the whole page or of what is in the window, and see that nothing
        sticks out. A click may still be on its way to the next page."""
        page = self.page
        page.wait_for_function(_FITS, arg=page.viewport_size["width"], timeout=10_000)
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        safe = (
            label.replace(self.base, "").partition("?")[0].strip("/").replace("/", "-") or "start"
        )
        page.screenshot(path=SCREENSHOTS / f"{self.name}-{safe[:60]}.png", full_page=is_whole)
        return page


@pytest.fixture(scope="package")
def chromium():
    # Playwright keeps an event loop in this thread, where the tests ask the database as well.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(
            # The shell is the same engine without a window, for a third of the CPU.
            executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(params=[("phone", "light"), ("desk", "dark")], ids=["phone", "desk"])
def visitor(request, chromium, live_url):
    """``visitor(**context)`` opens a browser that nobody is signed in to."""
    size, scheme = request.param
    opened = []

    def open_(**context):
        opened.append(Visitor(chromium, live_url, size, size, scheme, **context))
        return opened[-1]

    yield open_
    for one in opened:
        one.context.close()
        assert one.complaints == []
