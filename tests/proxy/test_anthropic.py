"""Anthropic's Messages API behind chat completions, in both directions."""

import itertools
import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import calls
from proxy.anthropic import Anthropic
from proxy.anthropic.answers import StreamTranslator, answer
from proxy.anthropic.requests import request
from proxy.meter import StreamMeter
from proxy.pricing import Usage
from proxy.upstream_errors import refusal
from roocloud.lib.refusals import InvalidInput
from tests.fakes import anthropic as fake

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
SYSTEM = {"role": "system", "content": "You are Roo."}
ASK = {"role": "user", "content": "Read a file."}
TOOL = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": "Reads.",
        "strict": True,
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
    },
}
CALLED = {
    "role": "assistant",
    "content": "I look.",
    "tool_calls": [
        {"id": "toolu_1", "type": "function",
         "function": {"name": "read_file", "arguments": '{"path": "a.py"}'}},
        {"id": "functions.read:1", "type": "function",
         "function": {"name": "read_file", "arguments": ""}},
    ],
}  # fmt: skip
RESULTS = [
    {"role": "tool", "tool_call_id": "toolu_1", "content": "print()"},
    {"role": "tool", "tool_call_id": "functions.read:1", "content": "(empty)"},
]
CACHED = {"type": "ephemeral"}
NEW, OLD = "claude-opus-4-7", "claude-sonnet-4-5-20250929"


def translated(messages, *, model=OLD, most=8000, dropped=(), **fields) -> dict:
    body = {"model": "anthropic/claude", "messages": messages, **fields}
    call = calls.read(json.dumps(body).encode())
    return json.loads(request(call, model=model, most=most, dropped=dropped))


def plain(blocks):
    """Without what marks them as cached."""
    return [{k: v for k, v in block.items() if k != "cache_control"} for block in blocks]


def refused(messages, **fields) -> str | None:
    with pytest.raises(InvalidInput) as caught:
        translated(messages, **fields)
    return caught.value.field


class TestAConversation:
    def test_has_its_system_prompt_apart(self):
        body = translated([SYSTEM, ASK, {"role": "developer", "content": "Be brief."}])
        assert plain(body["system"]) == [
            {"type": "text", "text": "You are Roo."},
            {"type": "text", "text": "Be brief."},
        ]
        assert [turn["role"] for turn in body["messages"]] == ["user"]

    def test_is_of_alternating_turns_with_results_first(self):
        """Several user messages may follow each other, also between calls and results."""
        body = translated([ASK, ASK, CALLED, RESULTS[0], ASK, RESULTS[1], ASK])
        assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
        assert [b["type"] for b in body["messages"][0]["content"]] == ["text", "text"]
        kinds = [b["type"] for b in body["messages"][2]["content"]]
        assert kinds == ["tool_result", "tool_result", "text", "text"]

    def test_carries_calls_and_their_results_under_ids_that_are_taken(self):
        body = translated([ASK, CALLED, *RESULTS])
        assert body["messages"][1]["content"] == [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "toolu_1", "name": "read_file", "input": {"path": "a.py"}},
            {"type": "tool_use", "id": "functions_read_1", "name": "read_file", "input": {}},
        ]
        assert plain(body["messages"][2]["content"]) == [
            {"type": "tool_result", "tool_use_id": "toolu_1",
             "content": [{"type": "text", "text": "print()"}]},
            {"type": "tool_result", "tool_use_id": "functions_read_1",
             "content": [{"type": "text", "text": "(empty)"}]},
        ]  # fmt: skip

    @pytest.mark.parametrize("arguments", ["{", "[1]", "5", "[" * 100_000, '{"a": NaN}'])
    def test_survives_arguments_that_are_no_object(self, arguments):
        call = {"id": "a", "function": {"name": "f", "arguments": arguments}}
        body = translated([ASK, {"role": "assistant", "content": None, "tool_calls": [call]}])
        assert body["messages"][1]["content"][0]["input"] == {"arguments": arguments}

    def test_leaves_out_texts_that_say_nothing(self):
        """The API refuses them; the client's assistant turns are often empty beside calls."""
        for blank in ("", " \n\t", None):
            messages = [ASK, {**CALLED, "content": blank}, *RESULTS]
            kinds = [b["type"] for b in translated(messages)["messages"][1]["content"]]
            assert kinds == ["tool_use", "tool_use"]

    def test_shows_images(self):
        parts = [
            {"type": "text", "text": "See:"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        ]
        body = translated([{"role": "user", "content": parts}])
        assert plain(body["messages"][0]["content"]) == [
            {"type": "text", "text": "See:"},
            {"type": "image",
             "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        ]  # fmt: skip

    def test_gives_signed_thoughts_back_where_they_stood(self):
        """Thought, text, thought, calls. Another vendor's thoughts stay out: their signatures
        would be refused."""

        def signed(index: int) -> dict:
            return {"type": "reasoning.text", "text": f"t{index}", "signature": f"s{index}",
                    "format": "anthropic-claude-v1", "index": index}  # fmt: skip

        details = [
            signed(0),
            {"type": "reasoning.text", "text": "x", "signature": "y", "format": "google-gemini-v1"},
            {"type": "reasoning.text", "text": "unsigned", "format": "anthropic-claude-v1"},
            signed(2),
            {"type": "reasoning.encrypted", "data": "secret", "format": "anthropic-claude-v1",
             "index": 3},
        ]  # fmt: skip
        body = translated([ASK, {**CALLED, "reasoning_details": details}, *RESULTS])
        assert body["messages"][1]["content"][:4] == [
            {"type": "thinking", "thinking": "t0", "signature": "s0"},
            {"type": "text", "text": "I look."},
            {"type": "thinking", "thinking": "t2", "signature": "s2"},
            {"type": "redacted_thinking", "data": "secret"},
        ]

    def test_is_refused_by_the_name_of_the_field(self):
        audio = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
        bad_image = {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}
        assert refused([ASK, {"role": "user", "content": [audio]}]) == "messages[1].content"
        assert refused([{"role": "user", "content": [bad_image]}]) == "messages[0].content"
        assert refused([{"role": "function", "content": "x"}]) == "messages[0].role"
        assert refused([SYSTEM]) == "messages"
        assert refused([ASK], n=2) == "n"
        assert refused([ASK], tools=5) == "tools"
        assert refused([ASK], stop=5) == "stop"
        assert refused([ASK], temperature="hot") == "temperature"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\\ud83d"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url"])}, optional={"text": JSON, "image_url": JSON}
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={
        "content": JSON | st.lists(PART, max_size=3),
        "tool_calls": JSON | st.lists(st.just({"id": "a", "function": {"name": "f"}})),
        "tool_call_id": JSON,
        "reasoning_details": JSON | st.lists(st.fixed_dictionaries({"type": JSON, "format": JSON})),
    },
)
FIELD = st.dictionaries(
    st.sampled_from(
        ["tools", "tool_choice", "parallel_tool_calls", "reasoning", "reasoning_effort",
         "temperature", "top_p", "top_k", "stop"]
    ), JSON,
)  # fmt: skip


@given(st.lists(MESSAGE, min_size=1, max_size=4), FIELD)
@settings(max_examples=150, deadline=None)
def test_whatever_is_asked_is_translated_or_refused(messages, fields):
    """F5"""
    with suppress(InvalidInput):
        translated(messages, **fields)


class TestARequest:
    def test_says_what_the_client_said_and_nothing_else(self):
        """K2: no field of the client's can choose a tier, a person or a price."""
        body = translated(
            [ASK], max_tokens=100, temperature=0.5, stop="END", top_k=5, stream=True, user="u",
            metadata={"user_id": "u"}, service_tier="priority", logprobs=True, seed=1,
        )  # fmt: skip
        assert {k: v for k, v in body.items() if k != "messages"} == {
            "model": OLD, "max_tokens": 100, "temperature": 0.5, "top_k": 5,
            "stop_sequences": ["END"], "stream": True,
        }  # fmt: skip

    def test_offers_tools(self):
        body = translated([ASK], tools=[TOOL, {"type": "function", "function": {"name": "now"}}])
        assert body["tools"] == [
            {"name": "read_file", "description": "Reads.",
             "input_schema": TOOL["function"]["parameters"]},
            {"name": "now", "input_schema": {"type": "object", "properties": {}},
             "cache_control": CACHED},
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("asked", "sent"),
        [
            ({"tool_choice": "auto"}, {"type": "auto"}),
            ({"tool_choice": "none"}, {"type": "none"}),
            ({"tool_choice": "required"}, {"type": "any"}),
            ({"tool_choice": {"type": "function", "function": {"name": "f"}}},
             {"type": "tool", "name": "f"}),
            ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
            ({}, None),
        ],
    )  # fmt: skip
    def test_chooses_tools(self, asked, sent):
        assert translated([ASK], tools=[TOOL], **asked).get("tool_choice") == sent
        assert "tool_choice" not in translated([ASK], **asked)

    def test_stays_within_the_limit_that_the_hold_is_for(self):
        """C3"""
        assert translated([ASK])["max_tokens"] == 8000
        assert translated([ASK], max_tokens=9000)["max_tokens"] == 8000
        assert translated([ASK], max_tokens=10)["max_tokens"] == 10

    def test_caches_tools_system_and_the_last_two_turns_of_the_user(self):
        """PX6: four breakpoints are all that one request may have."""
        body = translated([SYSTEM, ASK, CALLED, *RESULTS, CALLED, *RESULTS], tools=[TOOL, TOOL])
        places = {
            "tools": body["tools"],
            "system": body["system"],
            **{str(i): turn["content"] for i, turn in enumerate(body["messages"])},
        }
        marked = {
            (name, i)
            for name, blocks in places.items()
            for i, block in enumerate(blocks)
            if block.get("cache_control") == CACHED
        }
        assert marked == {("tools", 1), ("system", 0), ("2", 1), ("4", 1)}

    def test_leaves_out_what_the_upstream_is_set_to_refuse(self):
        body = translated([ASK], dropped=["temperature", "tools"], temperature=0, tools=[TOOL])
        assert not {"temperature", "tools"} & set(body)


class TestSampling:
    @pytest.mark.parametrize(
        ("model", "takes"),
        [
            ("claude-3-5-sonnet-20241022", True), ("claude-sonnet-4-20250514", True),
            (OLD, True), ("claude-opus-4-6", True), (NEW, False), ("claude-sonnet-5", False),
            ("claude-fable-5-1", False), ("claude-mythos-preview", False), ("kimi-k2", True),
        ],
    )  # fmt: skip
    def test_is_sent_to_models_that_take_it(self, model, takes):
        assert ("temperature" in translated([ASK], model=model, temperature=0)) == takes

    def test_is_of_one_kind_and_within_its_range(self):
        body = translated([ASK], temperature=1.5, top_p=0.9)
        assert (body["temperature"], "top_p" in body) == (1.0, False)
        assert translated([ASK], top_p=0.9)["top_p"] == 0.9


class TestThinking:
    @pytest.mark.parametrize(
        ("effort", "budget"), [("low", 1600), ("medium", 4000), ("high", 6400), ("xhigh", 7600)]
    )
    def test_has_a_budget_below_the_limit_on_older_models(self, effort, budget):
        body = translated([ASK], reasoning={"enabled": True, "effort": effort}, temperature=0)
        assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}
        assert body["max_tokens"] > budget
        assert "temperature" not in body

    def test_has_an_effort_on_newer_models(self):
        body = translated([ASK], model=NEW, reasoning={"enabled": True, "effort": "xhigh"})
        assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert body["output_config"] == {"effort": "xhigh"}
        older = translated([ASK], model="claude-opus-4-6", reasoning_effort="xhigh", temperature=0)
        assert older["output_config"] == {"effort": "high"}
        assert "temperature" not in older
        assert "output_config" not in translated([ASK], model=NEW, reasoning={"enabled": True})

    @pytest.mark.parametrize(
        "fields",
        [
            {}, {"reasoning": {"enabled": False}}, {"reasoning": None}, {"reasoning": {}},
            {"reasoning": {"enabled": True, "effort": "none"}}, {"reasoning_effort": "none"},
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("model", [OLD, NEW])
    def test_is_not_mentioned_if_nobody_asked(self, model, fields):
        """Models differ in how they are told not to think, and refuse the others' ways."""
        assert not {"thinking", "output_config"} & set(translated([ASK], model=model, **fields))

    def test_is_left_where_it_would_be_refused(self):
        on = {"enabled": True, "effort": "high"}
        forced = translated([ASK], tools=[TOOL], tool_choice="required", reasoning=on)
        little = translated([ASK], max_tokens=1024, reasoning=on)
        unthought = translated([ASK, CALLED, *RESULTS], tools=[TOOL], reasoning=on)
        ancient = translated([ASK], model="claude-3-5-haiku-latest", reasoning=on)
        for body in (forced, little, unthought, ancient):
            assert "thinking" not in body
        details = [{"type": "reasoning.text", "text": "t", "signature": "s",
                    "format": "anthropic-claude-v1"}]  # fmt: skip
        thought = [ASK, {**CALLED, "reasoning_details": details}, *RESULTS]
        assert "thinking" in translated(thought, reasoning=on)
        assert "thinking" in translated([ASK, CALLED, *RESULTS], model=NEW, reasoning=on)


def streamed(stream: bytes, cuts=()) -> bytes:
    translator = StreamTranslator(created=7)
    edges = [0, *sorted(min(c, len(stream)) for c in cuts), len(stream)]
    out = [translator.feed(stream[a:b]) for a, b in itertools.pairwise(edges)]
    return b"".join(out) + translator.finish()


def chunks(out: bytes) -> list[dict]:
    lines = [line[6:] for line in out.split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(line) for line in lines]


def gathered(out: bytes) -> dict:
    """What a client makes of a stream."""
    message: dict = {"content": "", "reasoning": "", "details": {}, "calls": {}, "reasons": []}
    for chunk in chunks(out):
        for choice in chunk["choices"]:
            delta = choice["delta"]
            message["content"] += delta.get("content", "")
            message["reasoning"] += delta.get("reasoning", "")
            if choice["finish_reason"]:
                message["reasons"].append(choice["finish_reason"])
            for detail in delta.get("reasoning_details", ()):
                known = message["details"].setdefault(detail["index"], {**detail, "text": ""})
                known.update(detail, text=known["text"] + detail.get("text", ""))
            for call in delta.get("tool_calls", ()):
                known = message["calls"].setdefault(call["index"], {**call, "arguments": ""})
                known["arguments"] += call["function"]["arguments"]
        message["usage"] = chunk.get("usage")
    return message


EVERYTHING = "claude-thinking-tools"
NULLS = fake.event("message_start", message=fake.message("m", usage=None))
STREAM = b"".join(fake.events(EVERYTHING))
USAGE = {
    "prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050,
    "cache_creation_input_tokens": 200, "prompt_tokens_details": {"cached_tokens": 700},
}  # fmt: skip


class TestAStream:
    def test_becomes_chunks_that_the_client_understands(self):
        """Traps 30 and 31."""
        out = streamed(STREAM)
        assert all("choices" in chunk for chunk in chunks(out))
        assert {(c["id"], c["object"], c["created"]) for c in chunks(out)} == {
            ("msg_01XFDUDYJgAACzvnptvVoYEL", "chat.completion.chunk", 7)
        }
        message = gathered(out)
        assert (message["content"], message["reasoning"]) == (fake.TEXT, fake.THOUGHT)
        assert message["reasons"] == ["tool_calls"]
        assert chunks(out)[-1]["choices"] == []
        assert message["usage"] == USAGE
        assert out.endswith(b"data: [DONE]\n\n")

    def test_carries_tool_calls_in_fragments(self):
        calls = gathered(streamed(STREAM))["calls"]
        assert [(c["id"], c["type"], c["function"]["name"]) for c in calls.values()] == [
            ("toolu_01", "function", "read_file"), ("toolu_02", "function", "list_tasks"),
        ]  # fmt: skip
        assert json.loads(calls[0]["arguments"]) == fake.INPUT
        assert calls[1]["arguments"] == "{}", "a tool that takes nothing streams nothing"

    def test_carries_thoughts_so_that_the_next_turn_can_give_them_back(self):
        details = list(gathered(streamed(STREAM))["details"].values())
        answered = {"role": "assistant", "content": fake.TEXT, "reasoning_details": details}
        body = translated([ASK, answered, ASK])
        assert body["messages"][1]["content"] == fake.content("claude-thinking")

    @given(st.lists(st.integers(0, len(STREAM)), max_size=60))
    @settings(max_examples=300, deadline=None)
    def test_does_not_depend_on_how_it_was_cut(self, cuts):
        assert streamed(STREAM, cuts) == streamed(STREAM)

    @given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=20))
    @settings(max_examples=200, deadline=None)
    def test_of_any_bytes_is_an_error_for_the_client_at_most(self, data, cuts):
        out = streamed(b"data: " + data, cuts)
        assert chunks(out)[-1]["error"]["code"] == 500

    @given(st.lists(st.sampled_from([*fake.events(EVERYTHING), NULLS]), max_size=30))
    @settings(max_examples=200, deadline=None)
    def test_of_events_in_any_order_is_made_of_whole_chunks(self, events):
        for line in streamed(b"".join(events)).split(b"\n\n")[:-1]:
            assert line == b"data: [DONE]" or {"choices", "error"} & set(json.loads(line[6:]))

    @pytest.mark.parametrize(
        ("stop_reason", "finish_reason"),
        [
            ("end_turn", "stop"), ("stop_sequence", "stop"), ("tool_use", "tool_calls"),
            ("max_tokens", "length"), ("model_context_window_exceeded", "length"),
            ("refusal", "content_filter"), ("of_the_future", "stop"),
        ],
    )  # fmt: skip
    def test_ends_for_a_reason(self, stop_reason, finish_reason):
        last = fake.event("message_delta", delta={"stop_reason": stop_reason}, usage={})
        out = streamed(fake.begin("m") + last + fake.event("message_stop"))
        assert gathered(out)["reasons"] == [finish_reason]

    def test_passes_over_what_is_not_known_here(self):
        unknown = [
            fake.event("of_the_future", index="x"),
            fake.event("content_block_delta", index=0, delta={"type": "citations_delta"}),
            fake.event("content_block_start", index=0, content_block={"type": "server_tool_use"}),
            fake.event("content_block_stop", index=0),
            b"data: {not json\r\n\r\n: comment\n\n",
        ]
        whole = fake.events("m")
        assert streamed(b"".join([*whole[:2], *unknown, *whole[2:]])) == streamed(b"".join(whole))

    def test_reports_an_error_and_ends(self):
        failing = fake.begin("m") + fake.event(
            "error", error={"type": "overloaded_error", "message": "Overloaded"}
        )
        out = streamed(failing + b"".join(fake.events("m")))
        assert chunks(out)[-1] == {
            "error": {"message": "Overloaded", "type": "overloaded_error", "code": 529}
        }
        assert b"[DONE]" not in out

    def test_that_stops_in_the_middle_is_an_error(self):
        assert "error" in chunks(streamed(STREAM[:-60]))[-1]

    def test_without_a_report_reports_nothing(self):
        """C5: what is not counted upstream is counted here, and is not free."""
        silent = fake.event("message_start", message=fake.message("m", usage={}))
        out = streamed(silent + fake.event("message_stop"))
        assert not any("usage" in chunk for chunk in chunks(out))


class TestMetering:
    """A translated stream goes through the one meter."""

    def usage(self, stream: bytes) -> tuple[Usage, bool]:
        meter = StreamMeter(lambda usage: usage.prompt, prompt_tokens=77)
        meter.feed(streamed(stream))
        meter.finish()
        return meter.usage()

    def test_is_by_class_and_exact(self):
        assert self.usage(STREAM) == (Usage(1000, 50, 700, 200), False)

    def test_of_a_stream_that_was_cut_knows_the_input_by_class(self):
        meter = StreamMeter(lambda usage: usage.prompt, prompt_tokens=77)
        translator = StreamTranslator(created=7)
        meter.feed(translator.feed(STREAM[: STREAM.index(b"content_block_stop")]))
        usage, is_estimated = meter.usage()
        assert (usage.prompt, usage.cache_read, usage.cache_write) == (1000, 700, 200)
        assert usage.completion > len(fake.THOUGHT) // 4
        assert is_estimated

    def test_an_error_does_not_make_what_came_before_it_free(self):
        """C5"""
        whole = fake.events("m")
        failing = [*whole[:-2], fake.event("error", error={"type": "overloaded_error"})]
        usage, is_estimated = self.usage(b"".join(failing))
        assert usage.prompt == 1000
        assert usage.completion >= len(fake.TEXT) // 4
        assert is_estimated


class TestAWholeAnswer:
    def test_becomes_a_chat_completion(self):
        whole = fake.message("m", content=fake.content(EVERYTHING), stop_reason="tool_use")
        found = json.loads(answer(json.dumps(whole).encode(), created=7))
        message = found["choices"][0]["message"]
        assert (found["object"], found["created"], found["usage"]) == ("chat.completion", 7, USAGE)
        assert (message["content"], message["reasoning"]) == (fake.TEXT, fake.THOUGHT)
        assert found["choices"][0]["finish_reason"] == "tool_calls"
        assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == fake.INPUT
        again = translated([ASK, message, *RESULTS])["messages"][1]["content"]
        assert again == fake.content(EVERYTHING)

    @pytest.mark.parametrize(
        "body", [b"", b"<html>", b"[]", b"{}", b'{"type":"error","error":{}}', b"[" * 100_000]
    )
    def test_is_refused_if_it_is_none(self, body):
        with pytest.raises(ValueError, match=r".*"):
            answer(body, created=7)

    def test_with_half_a_character_is_read(self):
        """F5"""
        whole = fake.message("m", content=[{"type": "text", "text": "cut \ud83d"}])
        found = json.loads(answer(json.dumps(whole).encode(), created=7))
        assert found["choices"][0]["message"]["content"] == "cut ?"


@pytest.mark.parametrize(
    ("status", "text", "code", "is_passing"),
    [
        (400, fake.OVERFLOW, "context_length_exceeded", False),
        (400, "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
         "context_length_exceeded", False),
        (400, "Input is too long for requested model.", "context_length_exceeded", False),
        (400, "Your credit balance is too low to access the Anthropic API.",
         "upstream_out_of_credit", True),
        (400, "messages.0: all messages must have content", "upstream_refused", False),
        (413, "Request exceeds the maximum size", "upstream_refused", False),
        (529, "Overloaded", "upstream_failed", True),
    ],
)  # fmt: skip
def test_its_words_are_understood(status, text, code, is_passing):
    """Whose credit ran out, and what another upstream may do better (PX10)."""
    body = json.dumps(fake.error("invalid_request_error", text)).encode()
    found = refusal("claude", status, body, retry_after=None)
    assert (found.code, found.is_passing) == (code, is_passing)


@pytest.mark.parametrize("base", ["https://api.anthropic.com", "https://api.anthropic.com/v1"])
def test_the_base_url_may_end_in_v1(base):
    assert (
        Anthropic().url(base, model="m", is_stream=False) == "https://api.anthropic.com/v1/messages"
    )
