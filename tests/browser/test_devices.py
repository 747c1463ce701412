"""A companion is paired, looked at and removed in a browser."""

from pathlib import Path

import pytest
from django.utils import timezone

from bridge.devices import registry
from bridge.devices.schemas import Registration
from tests.bridge.conftest import cookies_of
from tests.bridge.paired import waiting

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
AXE = Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js"


def faults_of(page) -> list[str]:
    page.evaluate(AXE.read_text())
    return [found["id"] for found in page.evaluate("axe.run().then(r => r.violations)")]


def test_a_companion_is_paired_looked_at_and_removed(visitor, alice):
    """SI9, R4"""
    one = visitor()
    for pair in cookies_of(alice).split("; "):
        name, _, value = pair.partition("=")
        one.context.add_cookies([{"name": name, "value": value, "url": one.base}])
    page = one.go("/roomote/devices")
    assert page.is_visible("text=No device is paired yet")
    page.click("main a >> text=Pair a device")
    address = page.wait_for_selector("#pairing-address >> text=#pair=").inner_text()
    assert page.is_visible("img.qr")
    assert page.is_hidden("main form button")
    one.look("pair")
    assert faults_of(page) == []

    made = registry.claim(
        Registration(
            device_id="companion-1",
            device_name="Pocket companion",
            device_type="mobile",
            platform="android 16",
        ),
        code=address.rpartition("#pair=")[2],
        at=timezone.now(),
    )
    waiting(made.device, "command-1")
    page.click("pair-code a >> text=Pocket companion")
    page.wait_for_selector("h1 >> text=Pocket companion")
    one.look("device")
    assert faults_of(page) == []
    page.click("button >> text=Take back")
    page.wait_for_selector("text=Nothing waits for it")
    one.go("/roomote/devices")
    page.click("a >> text=Pocket companion")
    page.click("main a >> text=Remove")
    page.wait_for_selector("text=Remove Pocket companion?")
    one.look("remove")
    page.click("button >> text=Remove")

    page.wait_for_selector("text=No device is paired yet")
    assert one.complaints == []
