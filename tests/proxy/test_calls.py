"""A body is read once, whatever its size, and every upstream that is tried gets the same bytes."""

import json
import tracemalloc

from proxy import calls

MESSAGES = [{"role": "user", "content": "x" * 1_000_000} for _ in range(10)]
BODY = json.dumps({"model": "acme/coder", "messages": MESSAGES, "temperature": 0.5}).encode()


def test_each_try_shares_the_bytes_of_a_large_body():
    call = calls.read(BODY)
    tracemalloc.start()
    tries = [call.body_for(model=name, most=100) for name in ("first", "second", "third")]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 20_000
    large = [max(pieces, key=len) for pieces in tries]
    assert all(isinstance(piece, memoryview) and piece.obj is large[0].obj for piece in large)
    for name, pieces in zip(("first", "second", "third"), tries, strict=True):
        sent = json.loads(b"".join(pieces))
        assert (sent["model"], sent["messages"]) == (name, MESSAGES)


def test_reading_it_keeps_no_second_copy():
    tracemalloc.start()
    call = calls.read(BODY)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 20_000
    assert call.text_bytes == len(BODY)
