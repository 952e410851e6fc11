"""Usage out of spans, with the real OpenTelemetry SDK."""

from __future__ import annotations

from collections import OrderedDict
from threading import Thread

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_producers.errors import SamplerDropsSpansError
from fleetmeter_producers.gateway import NOTES, Gateway, read_usage
from fleetmeter_producers.gateway.sampling import RecordAllSampler
from fleetmeter_producers.gateway.span_processor import meter_spans
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    AlwaysRecordSampler,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Status, StatusCode, Tracer
from opentelemetry.util.types import AnyValue

# Semantic conventions for generative AI, the example of a chat completion
CHAT: dict[str, AnyValue] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-x",
    "gen_ai.response.model": "gpt-x-2026-05-01",
    "gen_ai.response.id": "chatcmpl-9J3u",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 52,
    "gen_ai.usage.cache_read.input_tokens": 20,
    "gen_ai.usage.output_tokens": 97,
    "gen_ai.usage.reasoning.output_tokens": 40,
    "gen_ai.conversation.id": "conv-1",
    "gen_ai.input.messages": "[never looked at]",
}


class Whatever(Sampler):
    """One of somebody's own."""

    def should_sample(self, *_: object, **__: object) -> SamplingResult:
        return SamplingResult(Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return "Whatever"


@pytest.fixture
def emitter() -> KeepingEmitter:
    return KeepingEmitter()


@pytest.fixture
def gateway(emitter: KeepingEmitter) -> Gateway:
    return Gateway(emitter, region="eu-1")


@pytest.fixture
def tracer(gateway: Gateway) -> Tracer:
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    meter_spans(provider, gateway, account="acct-1")
    return provider.get_tracer("test")


def test_an_inference_span_is_a_generation(tracer: Tracer, emitter: KeepingEmitter) -> None:
    with tracer.start_as_current_span("chat gpt-x", attributes=CHAT) as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
    got = emitter.last
    assert 0 <= got.pop("latency_ms") < 10_000
    assert got == {
        "model": "gpt-x",
        "model_version": "gpt-x-2026-05-01",
        "generation_mode": "autoregressive",
        "provider": "openai",
        "operation": "chat",
        "route": "direct",
        "region": "eu-1",
        "status": "ok",
        "finish_reason": "stop",
        "usage_fidelity": "provider_reported",
        "input_tokens": 52,
        "cache_read_input_tokens": 20,
        "output_tokens": 97,
        "reasoning_tokens": 40,
        "request_id": "chatcmpl-9J3u",
        "conversation": "conv-1",
        "trace_id": trace_id,
    }
    assert emitter.events[0].subject == "acct-1"


def test_spans_that_are_no_call_of_a_model(tracer: Tracer, emitter: KeepingEmitter) -> None:
    for name in ("invoke_agent", "execute_tool", "invoke_workflow", "create_agent"):
        with tracer.start_as_current_span(name, attributes={**CHAT, "gen_ai.operation.name": name}):
            pass
    with tracer.start_as_current_span("GET /"):
        pass
    assert emitter.events == []


def test_of_nested_spans_of_one_call_the_inner_one_counts(tracer: Tracer, emitter: KeepingEmitter) -> None:
    agent = {**CHAT, "gen_ai.operation.name": "invoke_agent"}
    with (
        tracer.start_as_current_span("agent", attributes=agent),
        tracer.start_as_current_span("framework", attributes={**CHAT, "gen_ai.usage.output_tokens": 1}),
        tracer.start_as_current_span("http"),
        tracer.start_as_current_span("client", attributes=CHAT),
    ):
        pass
    assert [event.data.to_wire()["output_tokens"] for event in emitter.events] == [97]


def test_an_embedding_inside_counts_beside_the_generation_around_it(tracer: Tracer, emitter: KeepingEmitter) -> None:
    embedding = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e", "gen_ai.usage.input_tokens": 8}
    start = tracer.start_as_current_span
    with start("chat gpt-x", attributes=CHAT), start("retrieval"), start("embeddings e", attributes=embedding):
        pass
    told = [event.data.to_wire() for event in emitter.events]
    assert [(each["operation"], each["input_tokens"]) for each in told] == [("embedding", 8), ("chat", 52)]


def test_an_inner_span_that_tells_nothing_leaves_it_to_the_outer(tracer: Tracer, emitter: KeepingEmitter) -> None:
    silent = {name: value for name, value in CHAT.items() if "usage" not in name}
    with tracer.start_as_current_span("framework", attributes=CHAT):
        for _ in range(2):
            with tracer.start_as_current_span("http"):
                pass
    with tracer.start_as_current_span("framework", attributes=CHAT):
        pass
    assert [event.data.to_wire()["output_tokens"] for event in emitter.events] == [97, 97]
    emitter.events.clear()
    with (
        tracer.start_as_current_span("framework", attributes=CHAT),
        tracer.start_as_current_span("client", attributes=silent),
    ):
        pass
    assert [event.data.to_wire().get("output_tokens") for event in emitter.events] == [None, 97]


def test_two_calls_in_one_agent_are_two(tracer: Tracer, emitter: KeepingEmitter) -> None:
    with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        for _ in range(2):
            with tracer.start_as_current_span("chat", attributes=CHAT):
                pass
    assert len(emitter.events) == 2


@pytest.mark.parametrize(("error", "status"), [("429", "error"), ("CancelledError", "cancelled"), (None, "error")])
def test_spans_that_failed(tracer: Tracer, emitter: KeepingEmitter, error: str | None, status: str) -> None:
    with tracer.start_as_current_span("chat", attributes=CHAT) as span:
        if error is None:
            span.set_status(Status(StatusCode.ERROR))
        else:
            span.set_attribute("error.type", error)
    assert (emitter.last["status"], emitter.last["output_tokens"]) == (status, 97)


@pytest.mark.parametrize(
    "sampler",
    [
        ALWAYS_ON,
        TraceIdRatioBased(1.0),
        RecordAllSampler(TraceIdRatioBased(0.01)),
        RecordAllSampler(ALWAYS_OFF),
        ParentBased(ALWAYS_ON, remote_parent_not_sampled=ALWAYS_ON, local_parent_not_sampled=TraceIdRatioBased(1.0)),
    ],
)
def test_samplers_that_keep_all(sampler: Sampler, gateway: Gateway, emitter: KeepingEmitter) -> None:
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meter_spans(provider, gateway, account="acct-1")
    for _ in range(20):
        provider.get_tracer("test").start_span("chat", attributes=CHAT).end()
    assert len(emitter.events) == 20
    assert emitter.last["usage_fidelity"] == "provider_reported"
    if sampler.get_description() == "RecordAllSampler{AlwaysOffSampler}":
        assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    "sampler",
    [
        ALWAYS_OFF,
        TraceIdRatioBased(0.999),
        ParentBased(ALWAYS_ON),
        ParentBased(TraceIdRatioBased(0.5)),
        Whatever(),
        AlwaysRecordSampler(ALWAYS_OFF),
    ],
    ids=lambda sampler: sampler.get_description()[:30],
)
def test_samplers_that_may_drop(sampler: Sampler, gateway: Gateway) -> None:
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    with pytest.raises(SamplerDropsSpansError, match="RecordAllSampler"):
        meter_spans(provider, gateway, account="acct-1")
    meter_spans(TracerProvider(sampler=RecordAllSampler(sampler), shutdown_on_exit=False), gateway, account="acct-1")


def test_what_a_sampler_that_may_drop_leaves_is_an_estimate(gateway: Gateway, emitter: KeepingEmitter) -> None:
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON), shutdown_on_exit=False)
    meter_spans(provider, gateway, account="acct-1", sampled="estimate")
    provider.get_tracer("test").start_span("chat", attributes=CHAT).end()
    assert (emitter.last["usage_fidelity"], emitter.last["output_tokens"]) == ("estimated", 97)


def test_the_samplers_default_drops_what_its_caller_did_not_sample(gateway: Gateway) -> None:
    with pytest.raises(SamplerDropsSpansError):
        meter_spans(TracerProvider(shutdown_on_exit=False), gateway, account="acct-1")


def test_a_span_that_lost_attributes_is_an_estimate(gateway: Gateway, emitter: KeepingEmitter) -> None:
    provider = TracerProvider(sampler=ALWAYS_ON, span_limits=SpanLimits(max_attributes=6), shutdown_on_exit=False)
    meter_spans(provider, gateway, account="acct-1")
    last_first = dict(reversed(CHAT.items()))
    provider.get_tracer("test").start_span("chat", attributes=last_first).end()
    assert emitter.last["usage_fidelity"] == "estimated"


def test_account_and_fields_of_the_span(gateway: Gateway, emitter: KeepingEmitter) -> None:
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    meter_spans(
        provider,
        gateway,
        account=lambda span: str((span.attributes or {})["tenant.id"]),
        fields=lambda span: {"project_id": str((span.attributes or {})["project"])},
    )
    tracer = provider.get_tracer("test")
    tracer.start_span("chat", attributes={**CHAT, "tenant.id": "acct-5", "project": "p"}).end()
    assert (emitter.events[0].subject, emitter.last["project_id"]) == ("acct-5", "p")
    before = NOTES.counts().get(("opentelemetry", "not_emitted"), 0)
    tracer.start_span("chat", attributes=CHAT).end()  # no tenant: the request goes on, the loss is counted
    assert NOTES.counts()["opentelemetry", "not_emitted"] == before + 1


def test_numbers_copied_from_anthropic() -> None:
    usage = read_usage(
        "opentelemetry",
        {
            "gen_ai.usage.input_tokens": 3,
            "gen_ai.usage.cache_read.input_tokens": 2000,
            "gen_ai.usage.cache_creation.input_tokens": 100,
            "gen_ai.usage.output_tokens": 40,
        },
    )
    assert usage.fields["input_tokens"] == 2103
    assert [note.code.value for note in usage.notes] == ["total_differs"]


def test_names_of_older_instrumentations() -> None:
    attributes = {"gen_ai.system": "openai", "gen_ai.usage.prompt_tokens": 7, "gen_ai.usage.completion_tokens": 2}
    fields = read_usage("opentelemetry", attributes).fields
    assert (fields["input_tokens"], fields["output_tokens"], fields["provider"]) == (7, 2, "openai")


def test_a_span_that_ends_in_the_middle_of_another_s_bookkeeping(gateway: Gateway, emitter: KeepingEmitter) -> None:
    """Garbage collection may close a stream wherever something is allocated, and with it its span."""
    provider = TracerProvider(sampler=ALWAYS_ON)
    meter_spans(provider, gateway, "acct-1")
    tracer = provider.get_tracer("t")
    dropped = tracer.start_span("chat", attributes=CHAT)

    class Interrupted(OrderedDict[int, int | None]):
        def __setitem__(self, span_id: int, parent: int | None) -> None:
            dropped.end()
            super().__setitem__(span_id, parent)

    (processor,) = provider._active_span_processor._span_processors
    processor._parents = Interrupted()  # type: ignore[attr-defined]
    thread = Thread(target=lambda: tracer.start_span("chat", attributes=CHAT).end(), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for itself"
    assert len(emitter.events) == 2
