"""Claude on Bedrock and Vertex: what is sent, and the frames that come back. No I/O."""

import itertools
import json
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import calls, catalogue
from proxy.anthropic.answers import StreamTranslator
from proxy.anthropic.bedrock import Bedrock
from proxy.anthropic.vertex import Vertex
from proxy.meter import StreamMeter
from proxy.models import Upstream
from proxy.pricing import Usage
from proxy.upstream_errors import refusal
from tests.fakes import anthropic as claude
from tests.fakes import clouds
from tests.proxy.test_anthropic import EVERYTHING, chunks, gathered
from tests.proxy.test_anthropic import streamed as sse

BASE = "https://bedrock-runtime.us-east-1.amazonaws.com"
PLACE = "https://aiplatform.googleapis.com/v1/projects/p/locations/global"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3"
FRAMES = clouds.chunks(claude.events(EVERYTHING))
STREAM = b"".join(FRAMES)


def asked(dialect, model: str, *, wanted="anthropic/claude", **fields) -> dict:
    body = {"model": wanted, "messages": [{"role": "user", "content": "Hi"}], **fields}
    way = catalogue.way(Upstream(name="a", base_url=BASE), model)
    return json.loads(b"".join(dialect.body(calls.read(json.dumps(body).encode()), way, most=8000)))


def streamed(stream: bytes, cuts=()) -> bytes:
    translator = Bedrock().stream(created=7)
    edges = [0, *sorted(cuts), len(stream)]
    out = [translator.feed(stream[a:b]) for a, b in itertools.pairwise(edges)]
    return b"".join(out) + translator.finish()


class TestARequest:
    @pytest.mark.parametrize("stream", [False, True])
    def test_names_the_version_in_its_body_and_the_model_in_its_address(self, stream):
        body = asked(Bedrock(), "anthropic.claude-sonnet-4-5-20250929-v1:0", stream=stream)
        assert body["anthropic_version"] == "bedrock-2023-05-31"
        assert not {"model", "stream"} & set(body)
        body = asked(Vertex(), "claude-sonnet-4-5@20250929", stream=stream)
        assert body["anthropic_version"] == "vertex-2023-10-16"
        assert body.get("stream", False) is stream
        assert "model" not in body

    def test_is_otherwise_what_anthropic_itself_gets(self):
        """Caching, thinking and limits are the one adapter's."""
        body = asked(Bedrock(), "us.anthropic.claude-opus-4-6-v1", reasoning={"effort": "high"})
        assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
        assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert body["output_config"] == {"effort": "high"}
        body = asked(Vertex(), "claude-sonnet-4-5@20250929", reasoning={"effort": "high"})
        assert body["thinking"] == {"type": "enabled", "budget_tokens": 6400}

    def test_to_an_inference_profile_is_for_the_claude_that_our_own_id_names(self):
        def thinking(wanted):
            return asked(Bedrock(), ARN, wanted=wanted, reasoning={"enabled": True})["thinking"]

        assert thinking("anthropic/claude-opus-4.7")["type"] == "adaptive"
        assert thinking("anthropic/claude-sonnet-4.5")["type"] == "enabled"

    def test_has_an_address_that_no_model_leaves(self):
        """K2"""
        url = Bedrock().url(BASE, model=ARN, is_stream=True)
        assert url == (
            f"{BASE}/model/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile"
            "%2Fa1b2c3/invoke-with-response-stream"
        )
        assert Bedrock().url(BASE, model="a?b#c/d", is_stream=False) == (
            f"{BASE}/model/a%3Fb%23c%2Fd/invoke"
        )
        assert Vertex().url(PLACE, model="claude-opus-4@20250514", is_stream=False) == (
            f"{PLACE}/publishers/anthropic/models/claude-opus-4@20250514:rawPredict"
        )

    def test_is_signed_for_the_region_of_its_address(self):
        for host, region in (
            ("bedrock-runtime.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("bedrock-runtime-fips.us-east-1.amazonaws.com", "us-east-1"),
            ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("vpce-0a1b-xyz.bedrock-runtime.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ):
            url = Bedrock().url(f"https://{host}", model="m", is_stream=False)
            headers = Bedrock().headers(clouds.SESSION_KEYS, url=url, body=[b"{}"])
            assert f"/{region}/bedrock/aws4_request" in headers["Authorization"]
            assert headers["X-Amz-Security-Token"] == clouds.SESSION
            assert clouds.SECRET_KEY not in str(headers)

    def test_with_an_api_key_is_not_signed(self):
        headers = Bedrock().headers(clouds.API_KEY, url=BASE, body=[b"{}"])
        assert headers == {"Authorization": f"Bearer {clouds.API_KEY}"}


class TestFrames:
    def test_become_what_server_sent_events_become(self):
        assert streamed(STREAM) == sse(b"".join(claude.events(EVERYTHING)))
        assert gathered(streamed(STREAM))["usage"]["prompt_tokens"] == 1000

    @given(st.lists(st.integers(0, len(STREAM)), max_size=60))
    @settings(max_examples=200, deadline=None)
    def test_do_not_depend_on_how_they_were_cut(self, cuts):
        assert streamed(STREAM, cuts) == streamed(STREAM)

    @given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=20))
    @settings(max_examples=200, deadline=None)
    def test_of_any_bytes_are_an_error_for_the_client_at_most(self, data, cuts):
        assert chunks(streamed(data, [cut for cut in cuts if cut < len(data)]))[-1]["error"]

    @given(st.integers(0, len(STREAM) - 1), st.integers(1, 255))
    @settings(max_examples=200, deadline=None)
    def test_that_were_altered_are_noticed(self, at, change):
        altered = bytearray(STREAM)
        altered[at] ^= change
        last = chunks(streamed(bytes(altered)))[-1]
        assert last["error"]["code"] == 500

    @given(st.dictionaries(st.sampled_from(["message_type", "event_type", "exception_type"]),
                           st.text("abcxyz", max_size=9), max_size=3), st.binary(max_size=60))  # fmt: skip
    @settings(max_examples=200, deadline=None)
    def test_of_other_kinds_are_passed_over(self, headers, payload):
        out = streamed(clouds.frame(payload, **headers) + STREAM)
        assert out == streamed(STREAM) or chunks(out)[-1]["error"]

    def test_that_report_metrics_are_passed_over(self):
        metrics = clouds.frame({"x": 1}, event_type="metadata", message_type="event")
        assert streamed(FRAMES[0] + metrics + b"".join(FRAMES[1:])) == streamed(STREAM)

    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            ("throttlingException", 429), ("serviceUnavailableException", 529),
            ("modelTimeoutException", 504), ("validationException", 400),
            ("internalServerException", 500), ("modelStreamErrorException", 500),
            ("ofTheFuture", 500),
        ],
    )  # fmt: skip
    def test_that_carry_exceptions_are_errors(self, kind, code):
        out = streamed(FRAMES[0] + clouds.exception(kind, "Not now.") + STREAM)
        assert chunks(out)[-1]["error"]["code"] == code
        assert chunks(out)[-1]["error"]["message"] == "Not now."

    def test_that_say_error_without_an_exception_are_errors(self):
        failed = clouds.frame(
            b"", message_type="error", error_code="Internal", error_message="Broken."
        )
        assert chunks(streamed(failed))[-1]["error"]["message"] == "Broken."

    def test_that_stop_in_the_middle_are_an_error(self):
        assert "ended before" in chunks(streamed(STREAM[:-60]))[-1]["error"]["message"]

    @pytest.mark.parametrize("length", [0, 4, 8, 12, 15, 2**31])
    def test_with_impossible_lengths_are_an_error(self, length):
        """A hostile upstream keeps nothing busy."""
        prelude = struct.pack("!II", length, 0)
        data = prelude + struct.pack("!I", zlib.crc32(prelude)) + bytes(16)
        assert chunks(streamed(data * 3))[-1]["error"]

    def test_are_metered_by_class(self):
        meter = StreamMeter(lambda usage: usage.prompt, prompt_tokens=77)
        meter.feed(streamed(STREAM))
        meter.finish()
        assert meter.usage() == (Usage(1000, 50, 700, 200), False)

    def test_wrap_the_one_translator(self):
        """An event that was pretty-printed is one line to it."""
        pretty = json.dumps(json.loads(claude.begin("m").partition(b"data: ")[2]), indent=1)
        frame = clouds.chunk(b"data: " + pretty.encode())
        assert Bedrock().stream(created=7).feed(frame) == StreamTranslator(created=7).feed(
            claude.begin("m")
        )


@pytest.mark.parametrize(
    ("status", "text", "code", "is_passing"),
    [
        (400, "Input is too long for requested model.", "context_length_exceeded", False),
        (400, "Invocation with on-demand throughput isn't supported", "upstream_refused", False),
        (403, "You don't have access to the model with the specified model ID.",
         "upstream_auth_failed", True),
        (404, "The model is marked by provider as Legacy", "upstream_refused", False),
        (408, "Model timed out", "upstream_failed", True),
        (424, "The model returned an error", "upstream_failed", True),
        (429, "Too many tokens, please wait before trying again.", "rate_limit_exceeded", True),
        (503, "Bedrock is unable to process your request.", "upstream_failed", True),
    ],
)  # fmt: skip
def test_amazons_words_are_understood(status, text, code, is_passing):
    found = refusal("aws", status, json.dumps({"message": text}).encode(), retry_after=None)
    assert (found.code, found.is_passing) == (code, is_passing)
