"""The official openai client, metered, against a server on loopback. It fails when the library's insides, which the
meter hooks into, change."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_doubles.openai_server import OpenAIServer, openai_server
from fleetmeter_producers.gateway import NOTES, Gateway
from fleetmeter_producers.gateway.openai_client import meter_openai

openai = pytest.importorskip("openai", reason="the official openai client is not installed: pip install openai")

ASK: dict[str, Any] = {"model": "gpt-x", "messages": [{"role": "user", "content": "Count to four."}]}
TOKENS = {"input_tokens": 20, "cache_read_input_tokens": 16, "output_tokens": 6, "reasoning_tokens": 2}


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server() as running:
        yield running


@pytest.fixture
def emitter() -> KeepingEmitter:
    return KeepingEmitter()


@pytest.fixture
def gateway(emitter: KeepingEmitter) -> Gateway:
    return Gateway(emitter, provider="openai", count_tokens=lambda text: len(text.split()))


@pytest.fixture
def client(server: OpenAIServer, gateway: Gateway) -> Iterator[Any]:
    with openai.OpenAI(base_url=server.url, api_key="k", max_retries=2) as made:
        yield meter_openai(made, gateway, account="acct-1")


@pytest.fixture
def async_client(server: OpenAIServer, gateway: Gateway) -> Any:
    return meter_openai(openai.AsyncOpenAI(base_url=server.url, api_key="k"), gateway, account="acct-1")


def tokens(emitter: KeepingEmitter) -> dict[str, Any]:
    return {name: emitter.last.get(name) for name in TOKENS}


def test_a_chat_completion(client: Any, emitter: KeepingEmitter) -> None:
    answer = client.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == "one two three four"
    (event,) = emitter.events
    got = event.data.to_wire()
    assert tokens(emitter) == TOKENS
    assert (got["model"], got["model_version"], got["provider"]) == ("gpt-x", "gpt-x-2026-05-01", "openai")
    assert (got["operation"], got["route"], got["status"]) == ("chat", "direct", "ok")
    assert got["request_id"] == answer.id
    assert (event.subject, got["finish_reason"]) == ("acct-1", "stop")


def test_a_stream_tells_usage_that_the_caller_does_not_see(
    client: Any, emitter: KeepingEmitter, server: OpenAIServer
) -> None:
    chunks = list(client.chat.completions.create(**ASK, stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert server.requests[0][1]["stream_options"] == {"include_usage": True}
    assert len(emitter.events) == 1
    assert tokens(emitter) == TOKENS
    assert 0 <= emitter.last["time_to_first_token_ms"] <= emitter.last["latency_ms"]


def test_a_caller_who_asks_for_usage_sees_it(client: Any, emitter: KeepingEmitter) -> None:
    chunks = list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.total_tokens == 26
    assert tokens(emitter) == TOKENS


def test_a_caller_who_refuses_usage_gets_none(client: Any, emitter: KeepingEmitter) -> None:
    list(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": False}))
    assert (emitter.last["output_tokens"], emitter.last["usage_fidelity"]) == (4, "estimated")


def test_a_stream_that_its_caller_leaves(client: Any, emitter: KeepingEmitter) -> None:
    with client.chat.completions.create(**ASK, stream=True) as stream:
        next(stream)
        next(stream)
    assert len(emitter.events) == 1
    assert (emitter.last["status"], emitter.last["delivered_output_tokens"]) == ("cancelled", 2)
    assert emitter.last["usage_fidelity"] == "estimated"


def test_a_stream_that_is_dropped(client: Any, emitter: KeepingEmitter) -> None:
    stream = client.chat.completions.create(**ASK, stream=True)
    next(iter(stream))
    del stream
    gc.collect()
    assert [event.data.to_wire()["status"] for event in emitter.events] == ["cancelled"]


def test_a_stream_that_nobody_reads(client: Any, emitter: KeepingEmitter) -> None:
    stream = client.chat.completions.create(**ASK, stream=True)
    assert emitter.events == []
    del stream
    gc.collect()
    (event,) = emitter.events
    assert event.data.to_wire()["status"] == "cancelled"


async def test_an_async_stream_that_nobody_reads(async_client: Any, emitter: KeepingEmitter) -> None:
    stream = await async_client.chat.completions.create(**ASK, stream=True)
    assert emitter.events == []
    del stream
    gc.collect()
    deadline = time.monotonic() + 10
    while not emitter.events and time.monotonic() < deadline:  # noqa: ASYNC110  (the loop closes the generator)
        await asyncio.sleep(0.001)
    assert [event.data.to_wire()["status"] for event in emitter.events] == ["cancelled"]


def test_a_stream_that_the_server_cuts(client: Any, emitter: KeepingEmitter, server: OpenAIServer) -> None:
    server.cut = 3
    list(client.chat.completions.create(**ASK, stream=True))
    assert (emitter.last["output_tokens"], emitter.last["usage_fidelity"]) == (3, "estimated")


def test_retries_are_one_event(client: Any, emitter: KeepingEmitter, server: OpenAIServer) -> None:
    server.failures = [500, 429]
    client.with_options(timeout=5).chat.completions.create(**ASK)
    assert len(server.requests) == 3
    assert len(emitter.events) == 1
    assert tokens(emitter) == TOKENS


def test_a_request_that_fails(client: Any, emitter: KeepingEmitter, server: OpenAIServer) -> None:
    server.failures = [400]
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**ASK)
    assert [event.data.to_wire()["status"] for event in emitter.events] == ["error"]
    assert "output_tokens" not in emitter.last


def test_responses(client: Any, emitter: KeepingEmitter) -> None:
    client.responses.create(model="gpt-x", input="Count to four.")
    assert tokens(emitter) == TOKENS
    assert (emitter.last["request_id"], emitter.last["finish_reason"]) == ("resp_1", "completed")


def test_a_stream_of_responses(client: Any, emitter: KeepingEmitter) -> None:
    list(client.responses.create(model="gpt-x", input="Count to four.", stream=True))
    assert len(emitter.events) == 1
    assert tokens(emitter) == TOKENS


def test_a_response_in_the_background_has_generated_nothing_yet(client: Any, emitter: KeepingEmitter) -> None:
    client.responses.create(model="gpt-x", input="Count to four.", background=True)
    assert emitter.events == []


def test_embeddings(client: Any, emitter: KeepingEmitter) -> None:
    client.embeddings.create(model="embed-x", input="four", encoding_format="float")
    assert (emitter.last["operation"], emitter.last["input_tokens"]) == ("embedding", 8)
    assert "output_tokens" not in emitter.last


def test_helpers_are_metered_too(client: Any, emitter: KeepingEmitter) -> None:
    with client.chat.completions.stream(**ASK) as stream:
        assert stream.get_final_completion().choices[0].message.content == "one two three four"
    assert tokens(emitter) == TOKENS
    raw = client.chat.completions.with_raw_response.create(**ASK)
    assert raw.parse().usage.total_tokens == 26
    assert tokens(emitter) == TOKENS
    client.chat.completions.parse(**ASK)
    assert len(emitter.events) == 3


def test_a_raw_answer_of_a_stream_is_metered_as_its_stream(
    client: Any, emitter: KeepingEmitter, server: OpenAIServer
) -> None:
    raw = client.chat.completions.with_raw_response.create(**ASK, stream=True)
    assert emitter.events == [], "nothing has come yet"
    chunks = list(raw.parse())
    assert all(chunk.choices for chunk in chunks)
    assert (len(emitter.events), tokens(emitter), emitter.last["status"]) == (1, TOKENS, "ok")
    with client.chat.completions.with_raw_response.create(**ASK, stream=True).parse() as stream:
        next(stream)
    assert (len(emitter.events), emitter.last["status"]) == (2, "cancelled")
    client.chat.completions.with_raw_response.create(**ASK, stream=True)
    gc.collect()
    assert (len(emitter.events), emitter.last["status"]) == (3, "cancelled"), "nobody has asked what came"


def test_an_answer_that_is_read_later_is_metered_then(client: Any, emitter: KeepingEmitter) -> None:
    create = client.chat.completions.with_streaming_response.create
    for read in ("parse", "json", "text", "read"):
        emitter.events.clear()
        with create(**ASK) as answer:
            assert emitter.events == []
            getattr(answer, read)()
        assert (len(emitter.events), tokens(emitter)) == (1, TOKENS), read
    emitter.events.clear()
    with create(**ASK, stream=True) as answer:
        assert len(list(answer.parse())) > 1
    assert (len(emitter.events), tokens(emitter)) == (1, TOKENS)


def test_an_answer_that_is_taken_apart_is_noted_as_one_without_usage(client: Any, emitter: KeepingEmitter) -> None:
    before = NOTES.counts().get(("openai-chat", "no_usage"), 0)
    with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as answer:
        assert len(list(answer.iter_lines())) > 1
    assert (len(emitter.events), emitter.last["status"]) == (1, "ok")
    assert "output_tokens" not in emitter.last
    assert NOTES.counts()["openai-chat", "no_usage"] == before + 1


async def test_async_answers_that_are_read_later(async_client: Any, emitter: KeepingEmitter) -> None:
    raw = await async_client.chat.completions.with_raw_response.create(**ASK, stream=True)
    assert len([chunk async for chunk in raw.parse()]) > 1
    assert (len(emitter.events), tokens(emitter)) == (1, TOKENS)
    async with async_client.chat.completions.with_streaming_response.create(**ASK) as answer:
        await answer.json()
    assert (len(emitter.events), tokens(emitter)) == (2, TOKENS)
    async with async_client.chat.completions.with_streaming_response.create(**ASK, stream=True) as answer:
        assert len([chunk async for chunk in await answer.parse()]) > 1
    assert (len(emitter.events), tokens(emitter)) == (3, TOKENS)
    await async_client.close()


def test_other_requests_pass(client: Any, emitter: KeepingEmitter, server: OpenAIServer) -> None:
    client.post("/moderations", cast_to=object, body={"input": "x"})
    assert server.requests[0][0] == "/v1/moderations"
    assert emitter.events == []


def test_account_and_fields_by_request(server: OpenAIServer, gateway: Gateway, emitter: KeepingEmitter) -> None:
    client = meter_openai(
        openai.OpenAI(base_url=server.url, api_key="k"),
        gateway,
        account=lambda body: body["metadata"]["account"],
        fields=lambda body: {"project_id": body["metadata"]["project"]},
    )
    client.chat.completions.create(**ASK, metadata={"account": "acct-9", "project": "p-2"})
    assert (emitter.events[0].subject, emitter.last["project_id"]) == ("acct-9", "p-2")
    client.chat.completions.create(**ASK)  # there is no account: the request goes through, and is logged as lost
    assert len(emitter.events) == 1


def test_inside_the_block_of_a_call_it_is_that_call(client: Any, gateway: Gateway, emitter: KeepingEmitter) -> None:
    with gateway.request("acct-2") as request:
        with request.local("gemma-3n-e4b") as attempt:
            client.chat.completions.create(**ASK)
            attempt.fall_back("low_confidence")
        with request.cloud("gpt-x"):
            list(client.chat.completions.create(**ASK, stream=True))
    generation, fallback = emitter.events
    assert (generation.subject, generation.data.to_wire()["route"]) == ("acct-2", "fallback")
    assert generation.data.to_wire()["output_tokens"] == 6
    assert fallback.data.to_wire()["wasted_output_tokens"] == 6
    client.chat.completions.create(**ASK)
    assert emitter.last["route"] == "direct"


def test_several_requests_inside_the_block_of_a_call_add_up(
    client: Any, gateway: Gateway, emitter: KeepingEmitter
) -> None:
    """As the steps of an agent, whatever they ask."""
    with gateway.request("acct-2") as request, request.cloud("gpt-x"):
        client.chat.completions.create(**ASK)
        list(client.chat.completions.create(**ASK, stream=True))
        client.responses.create(model="gpt-x", input="Count to four.")
        client.embeddings.create(model="embed-x", input="four", encoding_format="float")
    (event,) = emitter.events
    assert tokens(emitter) == {
        "input_tokens": 3 * 20 + 8,
        "cache_read_input_tokens": 3 * 16,
        "output_tokens": 3 * 6,
        "reasoning_tokens": 3 * 2,
    }
    assert (event.subject, emitter.last["status"]) == ("acct-2", "ok")


async def test_requests_at_once_inside_the_block_of_a_call_add_up(
    async_client: Any, gateway: Gateway, emitter: KeepingEmitter
) -> None:
    async def read_stream() -> None:
        assert [chunk async for chunk in await async_client.chat.completions.create(**ASK, stream=True)]

    with gateway.call("acct-2", "gpt-x"):
        await asyncio.gather(*(read_stream() for _ in range(5)))
    assert (len(emitter.events), tokens(emitter)) == (1, {name: 5 * value for name, value in TOKENS.items()})
    await async_client.close()


def test_a_client_is_metered_once(client: Any, gateway: Gateway) -> None:
    with pytest.raises(ValueError, match="metered already"):
        meter_openai(client, gateway, account="acct-1")


async def test_async(async_client: Any, emitter: KeepingEmitter, server: OpenAIServer) -> None:
    await async_client.chat.completions.create(**ASK)
    assert tokens(emitter) == TOKENS
    chunks = [chunk async for chunk in await async_client.chat.completions.create(**ASK, stream=True)]
    assert all(chunk.choices for chunk in chunks)
    assert len(emitter.events) == 2
    assert tokens(emitter) == TOKENS
    async with await async_client.chat.completions.create(**ASK, stream=True) as stream:
        await anext(stream)
    assert emitter.last["status"] == "cancelled"
    server.failures = [400]
    with pytest.raises(openai.BadRequestError):
        await async_client.chat.completions.create(**ASK)
    assert [event.data.to_wire()["status"] for event in emitter.events] == ["ok", "ok", "cancelled", "error"]
    await async_client.close()
