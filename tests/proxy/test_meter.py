"""F4: the upstream's bytes pass as they are, whatever their splits; only usage is opened."""

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.meter import StreamMeter, meter_answer, read_usage
from proxy.pricing import Rates, Usage, cost_nanos, worst_case_nanos

STEPPED = Rates(
    input=3 * 10**9, output=15 * 10**9, cache_read=3 * 10**8, cache_write=3 * 10**9, above=1000,
    beyond=Rates(input=6 * 10**9, output=22 * 10**9, cache_read=6 * 10**8, cache_write=6 * 10**9),
)  # fmt: skip
RATES = Rates(input=3 * 10**9, output=15 * 10**9, cache_read=3 * 10**8, cache_write=375 * 10**7)


def price(usage: Usage) -> int:
    return cost_nanos(usage, RATES)


def event(**fields) -> bytes:
    return b"data: " + json.dumps({"id": "x", **fields}).encode() + b"\n\n"


def text(value: str) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": value}}])


USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "prompt_tokens_details": {"cached_tokens": 400},
}
NONE_OUT = {"prompt_tokens": 5, "completion_tokens": 0}
TOOL = event(
    choices=[
        {
            "index": 0,
            "delta": {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "c",
                        "function": {"name": "read_file", "arguments": '{"path": "a\\u0000b"}'},
                    }
                ]
            },
        }
    ]
)
STREAM = [
    b": comment\n\n",
    text("Hello"),
    event(choices=[{"index": 0, "delta": {"content": "x"}}], usage=None),
    b'data: {"choices":[{"index":0,"delta":{"content":"\\ud800 lone"}}]}\r\n\r\n',
    b"data:   {not json\n\n",
    b"event: ping\ndata: {}\n\n",
    b"\xff\xfe raw\n",
    TOOL,
]


def run(stream: bytes, cuts=()) -> tuple[bytes, StreamMeter]:
    meter = StreamMeter(price, prompt_tokens=77)
    edges = [0, *sorted(min(c, len(stream)) for c in cuts), len(stream)]
    out = b"".join(meter.feed(stream[a:b]) for a, b in itertools.pairwise(edges))
    return out + meter.finish(), meter


def usage_of(meter):
    return meter.usage()


@given(st.lists(st.integers(0, 3000), max_size=60))
@settings(max_examples=300, deadline=None)
def test_bytes_and_meter_do_not_depend_on_how_the_stream_was_cut(cuts):
    stream = b"".join([*STREAM, event(choices=[], usage=USAGE), b"data: [DONE]\n\n"])
    whole, meter = run(stream)
    cut, cut_meter = run(stream, cuts)
    assert cut == whole
    assert usage_of(cut_meter) == usage_of(meter)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=20))
@settings(max_examples=300, deadline=None)
def test_any_bytes_pass(data, cuts):
    if b"data:" in data:
        return
    assert run(data, cuts)[0] == data


def test_only_the_usage_chunk_changes_and_only_by_the_cost():
    usage_chunk = event(choices=[], usage=USAGE)
    before, after = b"".join(STREAM[:5]), b"data: [DONE]\n\n"

    out, meter = run(before + usage_chunk + TOOL + after)

    assert out.startswith(before)
    assert out.endswith(TOOL + after)
    changed = json.loads(out[len(before) : -len(TOOL + after)][6:])
    assert changed["usage"].pop("cost") == pytest.approx((600 * 3 + 400 * 0.3 + 50 * 15) / 1e6)
    assert changed == json.loads(usage_chunk[6:])
    assert usage_of(meter) == (Usage(1000, 50, 400, 0), False)


def test_a_chunk_without_choices_gets_an_empty_list():
    """Trap 30."""
    out, _ = run(event(usage=USAGE))
    assert json.loads(out[6:])["choices"] == []
    assert json.loads(run(b"data: {}\n\n")[0][6:]) == {"choices": []}


def test_usage_in_a_chunk_with_choices_counts_and_the_last_wins():
    """A gateway that looked at the last chunk alone charged four times too much."""
    first = {"prompt_tokens": 10, "completion_tokens": 1}
    stream = event(choices=[{"delta": {}}], usage=first) + event(
        choices=[{"delta": {}}], usage=USAGE
    )
    assert usage_of(run(stream)[1])[0] == Usage(1000, 50, 400, 0)


def test_an_error_in_the_stream_is_noticed_and_passed():
    error = event(error={"message": "overloaded"})
    out, meter = run(text("a") + error)
    assert out.endswith(error)
    assert meter.failed


def test_an_error_does_not_make_free_what_passed_before_it():
    """C5: an early report knows the input, and little of the output."""
    early = event(choices=[], usage={"prompt_tokens": 10, "completion_tokens": 1})
    error = event(error={"message": "overloaded"})
    usage, is_estimated = usage_of(run(early + text("forty bytes " * 4) + error)[1])
    assert (usage.prompt, usage.completion, is_estimated) == (10, 12, True)


def test_a_thought_in_two_forms_is_counted_once():
    """As text for the client to show, and in the details that the next turn gives back."""
    details = [{"type": "reasoning.text", "text": "forty bytes ", "format": "x" * 400}]
    thought = event(
        choices=[{"delta": {"reasoning": "forty bytes ", "reasoning_details": details}}]
    )
    assert usage_of(run(thought)[1])[0].completion == 3


def test_what_was_produced_without_a_report_is_counted_and_flagged():
    """C5"""
    usage, is_estimated = usage_of(run(text("twelve bytes") + TOOL)[1])
    assert is_estimated
    assert usage.prompt == 77
    assert usage.completion >= 3


def test_nothing_produced_costs_nothing():
    """C5"""
    assert usage_of(run(b": waiting\n\n")[1]) == (Usage(), False)


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2}, Usage(5, 2)),
        ({"prompt_tokens": 5, "total_tokens": 7}, Usage(5, 2)),
        ({**NONE_OUT, "cache_creation_input_tokens": 3}, Usage(5, 0, 0, 3)),
        ({**NONE_OUT, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(5, 0, 5, 0)),
        ({**NONE_OUT, "prompt_tokens_details": None}, Usage(5)),
        ({"prompt_tokens": -5, "completion_tokens": 0.0}, Usage()),
        ({"prompt_tokens": 1e300, "completion_tokens": 1e999}, Usage(10**9, 10**9)),
    ],
)
def test_usage_dialects(reported, usage):
    assert read_usage(reported) == usage


@pytest.mark.parametrize(
    "reported",
    [
        None, [], 5, "x", {}, {"prompt_tokens": 5}, {"completion_tokens": 5},
        {"prompt_tokens": None, "completion_tokens": None}, {"prompt_tokens": 5, "completion_tokens": True},
    ],
)  # fmt: skip
def test_what_counts_nothing_is_no_usage(reported):
    """C5: it is estimated instead; only a reported zero is zero."""
    assert read_usage(reported) is None


def test_a_whole_answer_gets_its_cost_and_nothing_else_changes():
    body = json.dumps(
        {"choices": [{"message": {"content": "a  b"}}], "usage": USAGE}, indent=3
    ).encode()
    out, usage, is_estimated = meter_answer(body, price, prompt_tokens=1)
    assert out.startswith(body[: body.index(b'"usage"')])
    assert json.loads(out)["usage"]["cost"] > 0
    assert (usage.prompt, is_estimated) == (1000, False)


class TestPrices:
    def test_each_class_is_priced_apart(self):
        usage = Usage(prompt=10**6, completion=10**6, cache_read=250_000, cache_write=250_000)
        assert (
            cost_nanos(usage, RATES)
            == (
                500_000 * 3 * 10**9
                + 250_000 * 3 * 10**8
                + 250_000 * 375 * 10**7
                + 10**6 * 15 * 10**9
            )
            // 10**6
        )

    def test_a_fraction_is_rounded_up_once(self):
        assert cost_nanos(Usage(prompt=1, completion=1), Rates(1, 1, 1, 1)) == 1

    def test_free_is_free(self):
        assert cost_nanos(Usage(10**9, 10**9), Rates(0, 0, 0, 0)) == 0

    def test_above_its_number_of_tokens_a_prompt_has_other_prices_for_all_of_them(self):
        assert cost_nanos(Usage(1000, 10), STEPPED) == 1000 * 3000 + 10 * 15_000
        assert cost_nanos(Usage(1001, 10, cache_read=1), STEPPED) == 1000 * 6000 + 600 + 10 * 22_000

    def test_a_price_that_only_long_prompts_have_is_not_free(self):
        assert not replace(STEPPED, input=0, output=0, cache_read=0, cache_write=0).is_free

    @given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 100), st.integers(0, 2000))
    def test_no_prompt_costs_more_than_the_worst_case_on_either_side(
        self, prompt, read, out, spare
    ):
        """C3"""
        usage = Usage(prompt, out, cache_read=min(read, prompt))
        for rates in (STEPPED, replace(STEPPED, beyond=Rates(1, 1, 1, 1))):  # dearer, cheaper
            worst = worst_case_nanos(
                prompt_tokens=prompt + spare, completion_tokens=out, rates=rates
            )
            assert cost_nanos(usage, rates) <= worst

    @given(*[st.integers(0, 10**6)] * 4, st.integers(0, 10**6))
    def test_no_usage_within_bounds_costs_more_than_the_worst_case(
        self, prompt, read, write, out, spare
    ):
        usage = Usage(prompt, out, min(read, prompt), min(write, prompt - min(read, prompt)))
        worst = worst_case_nanos(prompt_tokens=prompt + spare, completion_tokens=out, rates=RATES)
        assert cost_nanos(usage, RATES) <= worst
