"""What every room leans on."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roocloud.lib import crypto, wire
from roocloud.lib.ids import digest, new_id, new_secret
from roocloud.lib.money import format_usd, nanos_to_usd, usd_to_nanos
from roocloud.lib.outbound import is_allowed
from roocloud.lib.paths import canonical
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import clean_label


class TestMoney:
    @pytest.mark.parametrize(
        ("usd", "nanos"), [("1", 10**9), ("0.000000001", 1), ("-2.5", -2_500_000_000), ("0", 0)]
    )
    def test_reads_exact_amounts(self, usd, nanos):
        assert usd_to_nanos(usd) == nanos

    @pytest.mark.parametrize("usd", ["", "abc", "NaN", "Infinity", "1e30", "0.0000000001"])
    def test_refuses_what_is_no_amount_and_names_the_field(self, usd):
        with pytest.raises(InvalidInput) as refused:
            usd_to_nanos(usd, field="credit")
        assert refused.value.field == "credit"

    @given(st.integers(-(10**17), 10**17))
    def test_the_wire_keeps_balances_to_the_cent(self, nanos):
        assert abs(Decimal(repr(nanos_to_usd(nanos))) - Decimal(nanos) / 10**9) < Decimal("0.005")

    @pytest.mark.parametrize(
        ("nanos", "text"),
        [
            (1_234_500_000_000, "$1,234.50"),
            (123_000, "$0.000123"),
            (1, "<$0.000001"),
            (0, "$0.00"),
            (-2_500_000_000, "-$2.50"),
            (17_340_000, "$0.0173"),
            (2_660_000, "$0.00266"),
            (20_000_000, "$0.02"),
            (500_000_000, "$0.50"),
            (-70_300_000, "-$0.0703"),
            (999_990_000, "$1.00"),
            (1_017_000_000, "$1.02"),
        ],
    )
    def test_people_read_dollars(self, nanos, text):
        assert format_usd(nanos) == text


class TestReadingTheWire:
    """F5: bounded, typed, and the field is named."""

    class Shape(msgspec.Struct):
        name: str
        size: int = 0

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            (b'{"size": 1}', "name"),
            (b'{"name": 5}', "name"),
            (b'{"name": "a", "size": "b"}', "size"),
            (b"[]", None),
            (b"{", None),
            (b"\xff", None),
            (b'{"name": NaN}', None),
            (b'{"name": "a", "size": ' + b"9" * 5000 + b"}", None),
            (b"[" * 100_000, None),
            (b"[" * 80 + b"]" * 80, None),
            (b"", None),
        ],
    )
    def test_bad_input_is_refused_and_the_field_named(self, body, field):
        with pytest.raises(InvalidInput) as refused:
            wire.read(body, self.Shape)
        assert refused.value.field == field

    def test_a_nested_field_is_named_by_its_path(self):
        with pytest.raises(InvalidInput) as refused:
            wire.convert({"items": [{"name": "a"}, {}]}, dict[str, list[self.Shape]])
        assert refused.value.field == "[...][1].name"

    @given(st.text(st.characters(exclude_categories=[])) | st.text("\x00\ud800\udfff"))
    def test_any_text_survives_as_ascii_json(self, text):
        stored = wire.dumps({"text": text})

        assert stored.isascii()
        assert "\x00" not in stored
        again = wire.loads(stored.encode())["text"]
        assert again.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
    def test_reads_what_a_client_serializes(self, value):
        assert wire.loads(json.dumps(value).encode()) == value

    def test_a_form_with_a_hostile_number_of_fields_is_refused(self):
        with pytest.raises(InvalidInput):
            wire.form(b"a=1&" * 1000)


class TestSecretsAtRest:
    """I2: bound to their place, under a key that is not SECRET_KEY."""

    def test_open_in_their_own_place_only(self):
        sealed = crypto.seal("sk-1", context="proxy.upstream.api_key:up_1:org_1")

        assert crypto.unseal(sealed, context="proxy.upstream.api_key:up_1:org_1") == b"sk-1"
        with pytest.raises(crypto.CannotUnseal):
            crypto.unseal(sealed, context="proxy.upstream.api_key:up_2:org_1")

    @given(st.integers(0, 60), st.integers(1, 255))
    def test_an_altered_value_does_not_open(self, position, change):
        sealed = bytearray(crypto.seal("sk-1", context="c").encode())
        position %= len(sealed)
        sealed[position] = (sealed[position] + change) % 128

        try:
            opened = crypto.unseal(bytes(sealed).decode("ascii"), context="c")
        except crypto.CannotUnseal:
            return
        assert opened == b"sk-1"  # base64 has spare bits: the same bytes in another spelling

    def test_a_new_key_seals_while_the_old_one_opens(self, settings):
        """I3"""
        old, new = settings.ROOCLOUD_FIELD_KEYS[0], crypto.new_key("k2")
        sealed = crypto.seal("sk-1", context="c")
        settings.ROOCLOUD_FIELD_KEYS = [new, old]

        again = crypto.reseal(sealed, context="c")

        assert not crypto.is_current(sealed)
        assert crypto.is_current(again)
        settings.ROOCLOUD_FIELD_KEYS = [new]
        assert crypto.unseal(again, context="c") == b"sk-1"


@pytest.mark.parametrize(
    ("path", "known_as"),
    [
        ("//v1//me", "/v1/me"),
        ("/proxy/chat/completions", "/proxy/v1/chat/completions"),
        ("/proxy//v1//v1/models", "/proxy/v1/models"),
        ("/proxy/v1/models/", "/proxy/v1/models"),
        ("/proxy/v1/models", "/proxy/v1/models"),
        ("/proxyfoo/x", "/proxyfoo/x"),
        ("/proxy/v10/x", "/proxy/v1/v10/x"),
        ("/", "/"),
    ],
)
def test_paths_are_understood_as_clients_build_them(path, known_as):
    """Trap 29."""
    assert canonical(path) == known_as


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",  # noqa: S104
        "::", "fe80::1", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::",
        "224.0.0.1", "255.255.255.255", "fe80::1%eth0",
    ],
)  # fmt: skip
def test_addresses_inside_the_network_are_not_connected_to(address):
    """K1"""
    assert not is_allowed(address)


def test_an_operator_may_open_a_network(settings):
    """K1"""
    settings.ROOCLOUD_INTERNAL_NETWORKS = ["10.1.0.0/16"]

    assert is_allowed("10.1.2.3")
    assert not is_allowed("10.2.0.1")
    assert is_allowed("93.184.216.34")


def test_ids_and_secrets_need_no_escaping_and_do_not_repeat():
    made = {new_id("task") for _ in range(1000)} | {new_secret("ct") for _ in range(1000)}

    assert len(made) == 2000
    assert all(value.replace("_", "").replace("-", "").isalnum() for value in made)
    assert digest("\ud800")


def test_a_label_is_one_storable_line():
    assert clean_label("a\x00b\n c\ud800" + "d" * 100, 10) == "a\ufffdb c\ufffddd" + "d" + "…"
