"""Usage out of OpenTelemetry's `gen_ai.*` spans, for code that is instrumented already. Needs opentelemetry-sdk.

    provider = TracerProvider(sampler=RecordAllSampler(your_sampler))
    meter_spans(provider, Gateway(usage_client), account="acct-42")

A span that the sampler drops never gets here, and its tokens would be missing from the bill without a trace. So a
sampler is demanded that keeps all spans; `RecordAllSampler` does, and exports only what the sampler in it chose.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import StatusCode, format_trace_id

from fleetmeter_producers.errors import SamplerDropsSpansError
from fleetmeter_producers.gateway.notes import NOTES, Note, NoteCode
from fleetmeter_producers.gateway.routing import Gateway
from fleetmeter_producers.gateway.sampling import keeps_all_spans

_logger = logging.getLogger(__name__)

_CONVENTION: Final = "opentelemetry"
_NO_FIELDS: Final[Mapping[str, Any]] = MappingProxyType({})
# Spans of one call of a model. Those of agents and workflows sum up what their calls report.
_OPERATIONS: Final = MappingProxyType(
    {"chat": "chat", "generate_content": "chat", "text_completion": "completion", "embeddings": "embedding"}
)
_LIVE_SPANS: Final = 100_000
_NS_IN_MS: Final = 1_000_000
_CANCELLED: Final = frozenset({"CancelledError", "asyncio.CancelledError", "asyncio.exceptions.CancelledError"})


def meter_spans(
    provider: TracerProvider,
    gateway: Gateway,
    account: str | Callable[[ReadableSpan], str],
    *,
    fields: Mapping[str, Any] | Callable[[ReadableSpan], Mapping[str, Any]] = _NO_FIELDS,
    sampled: Literal["refuse", "estimate"] = "refuse",
) -> None:
    """Emit a generation for each inference span of a provider that ends from now on.

    `account` pays; it, and `fields` of `GenerationV1`, may be functions of the span. Raises `SamplerDropsSpansError` if
    the sampler is not known to keep all spans; with `sampled="estimate"` it may, and all usage is marked as estimated.
    """
    keeps_all = keeps_all_spans(provider.sampler)
    if not keeps_all and sampled == "refuse":
        raise SamplerDropsSpansError(
            f"the sampler {provider.sampler.get_description()} may drop spans, whose usage would be lost: make the "
            "provider with TracerProvider(sampler=RecordAllSampler(...)), or say sampled='estimate'"
        )
    provider.add_span_processor(_UsageSpans(gateway, account, fields, estimated=not keeps_all))


class _UsageSpans(SpanProcessor):
    """Where an instrumentation of a framework wraps that of a client, both make an inference span of one call: the
    inner one counts, and the outer ones only if no inner one told tokens. An embedding is no part of a generation, nor
    the other way round: a look-up on the way to an answer counts beside it."""

    def __init__(
        self,
        gateway: Gateway,
        account: str | Callable[[ReadableSpan], str],
        fields: Mapping[str, Any] | Callable[[ReadableSpan], Mapping[str, Any]],
        *,
        estimated: bool,
    ) -> None:
        self._gateway, self._account, self._fields, self._estimated = gateway, account, fields, estimated
        # A stream that garbage collection closes may end its span in the middle of this.
        self._lock = threading.RLock()
        # Spans that have not ended: their parents, and whether a span inside has told tokens, of embeddings (True) or
        # of generations (False).
        self._parents: OrderedDict[int, int | None] = OrderedDict()
        self._told_inside: set[tuple[int, bool]] = set()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """Remember who is inside of whom."""
        if span.context is None:
            return
        with self._lock:
            self._parents[span.context.span_id] = None if span.parent is None else span.parent.span_id
            if len(self._parents) > _LIVE_SPANS:  # some never end
                forgotten, _ = self._parents.popitem(last=False)
                self._told_inside -= {(forgotten, False), (forgotten, True)}

    def on_end(self, span: ReadableSpan) -> None:
        """Emit what an inference span tells."""
        try:
            self._meter(span)
        except Exception:
            # OpenTelemetry would let it through to who ended the span: the request.
            _logger.exception("an inference span is not metered")
            NOTES.add(_CONVENTION, [Note(NoteCode.NOT_EMITTED, "generation", "is lost: see the log")])

    def _meter(self, span: ReadableSpan) -> None:
        attributes = span.attributes or {}
        operation = _OPERATIONS.get(str(attributes.get("gen_ai.operation.name")))
        tells = operation is not None and any(str(name).startswith("gen_ai.usage.") for name in attributes)
        if not self._end(span, embeds=operation == "embedding", tells=tells) and operation is not None:
            self._emit(span, attributes, operation)

    def _end(self, span: ReadableSpan, *, embeds: bool, tells: bool) -> bool:
        """Forget a span; returns whether one of its kind inside it has told tokens already."""
        if span.context is None:
            return False
        with self._lock:
            span_id = span.context.span_id
            inside = {kind for kind in (False, True) if (span_id, kind) in self._told_inside}
            self._told_inside -= {(span_id, kind) for kind in inside}
            parent = self._parents.pop(span_id, None)
            for kind in inside | ({embeds} if tells else set()):
                above = parent
                while above is not None and above in self._parents and (above, kind) not in self._told_inside:
                    self._told_inside.add((above, kind))
                    above = self._parents[above]
            return embeds in inside

    def _emit(self, span: ReadableSpan, attributes: Mapping[str, Any], operation: str) -> None:
        account = self._account(span) if callable(self._account) else self._account
        fields = self._fields(span) if callable(self._fields) else self._fields
        told: dict[str, Any] = {"operation": operation, **fields}
        if span.context is not None:
            told.setdefault("trace_id", format_trace_id(span.context.trace_id))
        model = attributes.get("gen_ai.request.model") or attributes.get("gen_ai.response.model") or "unknown"
        call = self._gateway.call(account, str(model), convention=_CONVENTION, timed=False, **told)
        call.answered(dict(attributes))
        if span.start_time is not None and span.end_time is not None:
            call.used(latency_ms=max(0, span.end_time - span.start_time) // _NS_IN_MS)
        if span.status.status_code is StatusCode.ERROR or "error.type" in attributes:
            call.used(status="cancelled" if attributes.get("error.type") in _CANCELLED else "error")
        if self._estimated or span.dropped_attributes:
            call.used(usage_fidelity="estimated")
        call.finish()
