"""The LiteLLM callback, with the real package and a provider on loopback."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_doubles.openai_server import OpenAIServer, openai_server
from fleetmeter_producers.gateway import NOTES, Gateway

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network when it is imported
litellm = pytest.importorskip("litellm", reason="litellm is not in the development environment: make test-litellm")
# It can be imported only where litellm is.
from fleetmeter_producers.gateway.litellm_callback import LiteLLMMeter  # noqa: E402

MESSAGES = [{"role": "user", "content": "Count to four."}]
TOKENS = {"input_tokens": 20, "cache_read_input_tokens": 16, "output_tokens": 6, "reasoning_tokens": 2}
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with openai_server() as running:
        yield running


@pytest.fixture
def emitter() -> KeepingEmitter:
    return KeepingEmitter()


@pytest.fixture
def install(emitter: KeepingEmitter) -> Iterator[Callable[..., LiteLLMMeter]]:
    """Makes LiteLLM call a meter, until the test ends."""

    def make(**options: Any) -> LiteLLMMeter:
        gateway = Gateway(emitter, count_tokens=lambda text: len(text.split()))
        meter = LiteLLMMeter(gateway, **{"account": "acct-1", **options})
        litellm.callbacks = [meter]
        return meter

    priced = set(litellm.model_cost)
    yield make
    # A request that names its prices leaves them behind, for all later ones of its model.
    for model in set(litellm.model_cost) - priced:
        del litellm.model_cost[model]
    litellm.utils._invalidate_model_cost_lowercase_map()
    litellm.callbacks = []
    for name in ("success_callback", "failure_callback", "_async_success_callback", "_async_failure_callback"):
        setattr(litellm, name, [])
    litellm.cache = None


@pytest.fixture
def ask(server: OpenAIServer) -> dict[str, Any]:
    return {
        "model": "openai/gpt-x",
        "messages": MESSAGES,
        "api_base": server.url,
        "api_key": "k",
        "max_retries": 0,
        "input_cost_per_token": 0.000001,
        "output_cost_per_token": 0.00001,
    }


def wait_for(emitter: KeepingEmitter, count: int) -> list[dict[str, Any]]:
    """The events, when there are so many: LiteLLM tells from threads of its own."""
    deadline = time.monotonic() + 20
    while len(emitter.events) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(emitter.events) == count
    return [event.data.to_wire() for event in emitter.events]


def settle(emitter: KeepingEmitter, meter: LiteLLMMeter, ask: dict[str, Any]) -> list[dict[str, Any]]:
    """All events of what was done before: a last request shows that LiteLLM has told everything older."""
    litellm.completion(**ask, user="the-last")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        events = [event.data.to_wire() for event in emitter.events]
        if any(event.get("user") == "the-last" for event in events):
            return [event for event in events if event.get("user") != "the-last"]
        time.sleep(0.02)
    raise AssertionError("LiteLLM did not tell of the last request")


def last_user(kwargs: Any) -> dict[str, Any]:
    return {"user": (kwargs["standard_logging_object"].get("model_parameters") or {}).get("user")}


def tokens(event: dict[str, Any]) -> dict[str, Any]:
    return {name: event.get(name) for name in TOKENS}


def test_a_completion(install: Any, ask: dict[str, Any], emitter: KeepingEmitter) -> None:
    install(fields={"region": "eu-1"})
    answer = litellm.completion(**ask)
    (event,) = wait_for(emitter, 1)
    assert tokens(event) == TOKENS
    assert (event["model"], event["provider"], event["operation"]) == ("gpt-x", "openai", "chat")
    assert (event["status"], event["finish_reason"], event["region"]) == ("ok", "stop", "eu-1")
    assert event["usage_fidelity"] == "provider_reported"
    # 4 tokens that no cache held at 10^-6, 16 that one did (at the same price, as none is given), 6 at 10^-5
    assert event["upstream_cost_nanousd"] == pytest.approx(80_000, abs=20_000)
    assert 0 < event["latency_ms"] < 20_000
    assert emitter.events[0].subject == "acct-1"
    assert answer.usage.total_tokens == 26


def test_a_stream(install: Any, ask: dict[str, Any], emitter: KeepingEmitter) -> None:
    meter = install(fields=last_user)
    list(litellm.completion(**ask, **WITH_USAGE))
    (event,) = settle(emitter, meter, ask)
    assert tokens(event) == TOKENS
    assert event["usage_fidelity"] == "provider_reported"
    assert 0 <= event["time_to_first_token_ms"] <= event["latency_ms"]


def test_a_stream_that_nobody_asked_for_usage(install: Any, ask: dict[str, Any], emitter: KeepingEmitter) -> None:
    meter = install(fields=last_user)
    list(litellm.completion(**ask, stream=True))
    (event,) = settle(emitter, meter, ask)
    assert event["usage_fidelity"] == "estimated"
    assert event["output_tokens"] > 0


def test_retries_are_one_event(
    install: Any, ask: dict[str, Any], emitter: KeepingEmitter, server: OpenAIServer
) -> None:
    meter = install(fields=last_user)
    server.failures = [500, 500]
    litellm.completion(**{**ask, "max_retries": None}, num_retries=3)
    assert len(server.requests) == 3
    (event,) = settle(emitter, meter, ask)
    assert tokens(event) == TOKENS


async def test_async(install: Any, ask: dict[str, Any], emitter: KeepingEmitter) -> None:
    install()
    await litellm.acompletion(**ask)
    [_ async for _ in await litellm.acompletion(**ask, **WITH_USAGE)]
    await litellm.aembedding(
        model="openai/embed-x", input=["four"], api_base=ask["api_base"], api_key="k", max_retries=0
    )
    events = await _wait_in_loop(emitter, 3)
    assert [event["operation"] for event in events] == ["chat", "chat", "embedding"]
    assert [tokens(event) for event in events[:2]] == [TOKENS, TOKENS]
    assert events[2]["input_tokens"] == 8


async def _wait_in_loop(emitter: KeepingEmitter, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 20
    while len(emitter.events) < count and time.monotonic() < deadline:  # noqa: ASYNC110  (LiteLLM gives no event)
        await asyncio.sleep(0.02)
    assert len(emitter.events) == count
    return [event.data.to_wire() for event in emitter.events]


@pytest.mark.parametrize(("code", "model"), [(500, "gpt-x"), (400, "gpt-y")])
async def test_a_router_that_tries_again_or_elsewhere(
    install: Any, ask: dict[str, Any], emitter: KeepingEmitter, server: OpenAIServer, code: int, model: str
) -> None:
    install()
    there = {name: ask[name] for name in ("api_base", "api_key", "max_retries")}
    router = litellm.Router(
        model_list=[
            {"model_name": name, "litellm_params": {"model": f"openai/{real}", **there}}
            for name, real in (("fast", "gpt-x"), ("slow", "gpt-y"))
        ],
        num_retries=1,
        fallbacks=[{"fast": ["slow"]}],
    )
    server.failures = [code]
    await router.acompletion(model="fast", messages=MESSAGES)
    assert len(server.requests) == 2
    (event,) = await _wait_in_loop(emitter, 1)
    assert (event["model"], event["requested_model"]) == (model, "fast" if model == "gpt-x" else "slow")
    assert tokens(event) == TOKENS


@pytest.mark.parametrize("failures", [False, True])
def test_failures_are_events_only_if_asked_for(
    install: Any, ask: dict[str, Any], emitter: KeepingEmitter, server: OpenAIServer, failures: bool
) -> None:
    meter = install(fields=last_user, failures=failures)
    server.failures = [400]
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(**ask)
    events = settle(emitter, meter, ask)
    assert [event["status"] for event in events] == ["error"] * failures
    assert all("output_tokens" not in event for event in events)


def test_an_answer_out_of_litellms_cache_is_no_generation(install: Any, emitter: KeepingEmitter) -> None:
    before = NOTES.counts().get(("litellm", "cached_by_gateway"), 0)
    payload = {"id": "c", "model": "gpt-x", "prompt_tokens": 2, "completion_tokens": 1, "cache_hit": True}
    install().log_success_event({"litellm_call_id": "call-1", "standard_logging_object": payload}, None, None, None)
    assert emitter.events == []
    assert NOTES.counts()["litellm", "cached_by_gateway"] == before + 1


def test_the_account_comes_from_the_request(install: Any, ask: dict[str, Any], emitter: KeepingEmitter) -> None:
    install(account=lambda kwargs: kwargs["litellm_params"]["metadata"]["account"])
    litellm.completion(**ask, metadata={"account": "acct-7"})
    assert tokens(wait_for(emitter, 1)[0]) == TOKENS
    assert emitter.events[0].subject == "acct-7"


def test_what_it_is_told_twice_counts_once(install: Any, emitter: KeepingEmitter) -> None:
    meter = install()
    payload = {"id": "c", "model": "gpt-x", "prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    told = {"litellm_call_id": "call-1", "standard_logging_object": payload}
    meter.log_success_event(told, None, None, None)
    meter.log_success_event(told, None, None, None)
    meter.log_success_event({**told, "litellm_call_id": "call-2"}, None, None, None)
    assert len(emitter.events) == 2


@pytest.mark.parametrize(
    ("answers", "events"),
    [
        ([("c1", 10.0), ("c2", 20.0), ("c3", 30.0)], 3),
        ([("call-1", 10.0), ("call-1", 20.0)], 2),  # as of embeddings, whose answers have no id
        ([("c1", 10.0), ("c1", 10.5)], 1),  # the answer of a call within the call
        ([("c1", 10.0), ("c2", 10.0)], 1),  # put together twice, from the chunks of one stream
    ],
)
def test_a_call_s_id_that_the_caller_repeats_hides_nothing(
    install: Any, emitter: KeepingEmitter, answers: list[tuple[str, float]], events: int
) -> None:
    meter = install()
    payload = {"model": "gpt-x", "prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    for answer_id, began in answers:
        told = {**payload, "id": answer_id, "startTime": began, "endTime": began + 1}
        meter.log_success_event({"litellm_call_id": "call-1", "standard_logging_object": told}, None, None, None)
    assert len(emitter.events) == events


def test_a_failed_attempt_does_not_hide_the_answer_of_the_same_call(install: Any, emitter: KeepingEmitter) -> None:
    meter = install(failures=True)
    payload = {"id": "c", "model": "gpt-x", "prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    told = {"litellm_call_id": "call-1"}
    failed = {"id": "c", "model": "gpt-x", "status": "failure"}
    meter.log_failure_event({**told, "standard_logging_object": failed}, None, None, None)
    meter.log_success_event({**told, "standard_logging_object": {**payload, "status": "success"}}, None, None, None)
    assert [event.data.to_wire()["status"] for event in emitter.events] == ["error", "ok"]


def test_requests_without_an_id_are_not_taken_for_one(install: Any, emitter: KeepingEmitter) -> None:
    meter = install()
    payload = {"model": "gpt-x", "prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    for _ in range(2):
        meter.log_success_event({"standard_logging_object": payload}, None, None, None)
    assert len(emitter.events) == 2


def test_a_fault_of_metering_fails_nothing_and_is_counted(install: Any, emitter: KeepingEmitter) -> None:
    meter = install(account=lambda kwargs: kwargs["nothing"])
    before = NOTES.counts().get(("litellm", "not_emitted"), 0)
    meter.log_success_event({"litellm_call_id": "x", "standard_logging_object": {"model": "m"}}, None, None, None)
    meter.log_success_event({"litellm_call_id": "y"}, None, None, None)
    assert emitter.events == []
    assert NOTES.counts()["litellm", "not_emitted"] == before + 2
