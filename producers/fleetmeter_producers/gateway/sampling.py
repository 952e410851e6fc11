"""OpenTelemetry samplers that drop no span, so that no usage is lost. Needs opentelemetry-sdk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

_NAME: Final = "RecordAllSampler"


class RecordAllSampler(Sampler):
    """Records every span, and marks for export those that the sampler in it chose: processors see all of them, and
    exporters get what they always got.

    OpenTelemetry's own AlwaysRecordSampler is no substitute (SDK 1.45): where the sampler in it drops a span, the
    attributes that the span was started with are lost, among them the operation's name.
    """

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """What the inner sampler says, except that nothing is dropped."""
        result = self._inner.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        decision = Decision.RECORD_ONLY if result.decision is Decision.DROP else result.decision
        return SamplingResult(decision, {**(attributes or {}), **result.attributes}, result.trace_state)

    def get_description(self) -> str:
        """Its name, and the inner sampler's description."""
        return f"{_NAME}{{{self._inner.get_description()}}}"


def keeps_all_spans(sampler: Sampler) -> bool:
    """Whether a sampler keeps every span, by its description, whose form OpenTelemetry specifies. One that is not known
    here does not. `ParentBased` keeps all only if each of its parts does: by default it drops what a caller elsewhere
    did not sample."""
    description = sampler.get_description()
    if isinstance(sampler, RecordAllSampler):
        return True
    leaves = re.sub(r"ParentBased\{|\w+:|[},]", " ", description.replace("TraceIdRatioBased{1.0}", "AlwaysOnSampler"))
    return set(leaves.split()) == {"AlwaysOnSampler"}
