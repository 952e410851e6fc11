"""The six event types, field by field: the hardest thing to change later.

Every field says its role through `fleetmeter_schemas.fields`; rules between fields stand in `rules`. Empty text and
null mean unknown. Quantities are whole numbers from 0 to 2^40; absent is not zero.

Annotations are evaluated as they stand, not kept as text that pydantic would have to parse: every producer pays for it.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from fleetmeter_schemas.annotations import Labels, Moment, Quantity, SignedQuantity, Text
from fleetmeter_schemas.bands import CONTEXT_BAND, STEPS_BAND, Band
from fleetmeter_schemas.fields import Role, choice, labels, measure, moment, number, text
from fleetmeter_schemas.rules import (
    AbsentWhen,
    NearEventTime,
    NotAbove,
    PartsWithin,
    RequiredWhen,
    Rule,
    first_violation,
)

GenerationMode = Literal["autoregressive", "diffusion", "block_diffusion", "hybrid"]
Operation = Literal[
    "", "chat", "completion", "infill", "embedding", "rerank", "classification", "transcription", "image", "other"
]
Placement = Literal["", "cloud", "on_prem", "device"]
Route = Literal["", "direct", "local_first", "fallback"]
ServiceTier = Literal["", "standard", "batch", "flex", "priority"]
CostBearer = Literal["", "platform", "customer"]
Status = Literal["", "ok", "error", "cancelled"]
Fidelity = Literal["", "measured", "provider_reported", "estimated"]
FallbackReason = Literal[
    "low_confidence",
    "context_too_long",
    "capability",
    "error",
    "timeout",
    "out_of_memory",
    "model_missing",
    "battery",
    "thermal",
    "policy",
    "user_request",
    "other",
]
ReportKind = Literal["seat", "download", "deploy", "upgrade", "remove", "estimate"]
SeatKind = Literal["", "user", "device"]
# A device that was offline for a year reports in bulk; beyond 400 days a period is a mistake. Clocks differ by minutes.
_PERIOD_AGE_US = 400 * 86_400_000_000
_PERIOD_AHEAD_US = 300 * 1_000_000

JobKind = Literal["fine_tuning", "distillation", "evaluation", "premium_feature"]


class EventData(BaseModel):
    """The `data` of an event; frozen, strict (nothing is coerced), and open to fields of newer producers (ignored)."""

    # Validators are built when a type is first used: a producer uses one or two of the six, and pays for no more.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", protected_namespaces=(), defer_build=True)

    TYPE: ClassVar[str]
    SHORT: ClassVar[str]
    COUNT_MEASURE: ClassVar[str | None] = None
    """The rollup measure that counts events of this type; None for facts, which keep a row an event."""
    RULES: ClassVar[tuple[Rule, ...]] = ()
    BANDS: ClassVar[tuple[Band, ...]] = ()
    TIME_RULES: ClassVar[tuple[NearEventTime, ...]] = ()
    """Those of RULES that compare with the event's own time: few types have any, and `emit` asks for each event."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.TIME_RULES = tuple(rule for rule in cls.RULES if isinstance(rule, NearEventTime))

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        violation = first_violation(self.RULES, self.__dict__)
        if violation is not None:
            raise PydanticCustomError(
                violation.reason.code, "{sentence}", {"sentence": violation.sentence, "field": violation.field}
            )
        return self

    def to_wire(self) -> dict[str, Any]:
        """The JSON object to send: what is absent is left out."""
        return {name: value for name, value in self.__dict__.items() if value is not None and value != ""}


class GenerationV1(EventData):
    """One finished, failed or cancelled generation: the only event with billable tokens."""

    TYPE = "fleetmeter.generation.v1"
    SHORT = "generation"
    COUNT_MEASURE = "requests"

    model: Text = text("Model that did the work, as the fleet names it.", required=True)
    generation_mode: GenerationMode = choice(
        "How text came about: token by token, in parallel, in parallel by block, or a draft refined in parallel.",
        required=True,
    )
    provider: Text | None = text("Who ran the model: a provider's name, or the fleet's own.")
    operation: Operation | None = choice("What was asked for.")
    model_version: Text | None = text("Version or checkpoint of the model.")
    requested_model: Text | None = text("Model that the caller asked for, where a router chose another.")
    quantization: Text | None = text("Number format of the weights, such as bf16, fp8 or q4_k_m.")
    decoding_strategy: Text | None = text(
        "How positions are chosen or unmasked, such as low_confidence, semi_autoregressive, adaptive_parallel, "
        "slow_fast or speculative."
    )
    draft_model: Text | None = text("Small model that wrote the draft, in hybrid and speculative generation.")
    matrix_formula: Text | None = text("Name and version of the formula behind matrix_gflop.")
    placement: Placement | None = choice("Where the work ran.")
    route: Route | None = choice(
        "How the request got there: straight, to the device first, or to the cloud after the device."
    )
    service_tier: ServiceTier | None = choice("Class of service that the caller chose.")
    region: Text | None = text("Region where the work ran.")
    accelerator: Text | None = text("Hardware that did the work, such as h100-sxm or apple-m4.")
    project_id: Text | None = text("Project of the account that asked.")
    query_class: Text | None = text("Kind of query in the operator's own terms, such as simple or complex.")
    cost_bearer: CostBearer | None = choice("Who pays the provider: the platform, or the customer who brings a model.")
    status: Status | None = choice("How the generation ended.")
    finish_reason: Text | None = text("Why the model stopped, in the server's words.")
    usage_fidelity: Fidelity | None = choice("How the quantities are known.")
    labels: Labels | None = labels("Up to 8 labels with allow-listed keys; for analysis, never for prices.")

    input_tokens: Quantity | None = measure("Tokens of the prompt, all kinds, cached ones included.")
    cache_read_input_tokens: Quantity | None = measure("Part of input_tokens that was read from a prompt cache.")
    cache_creation_input_tokens_5m: Quantity | None = measure("Part of input_tokens written to a 5-minute cache.")
    cache_creation_input_tokens_1h: Quantity | None = measure("Part of input_tokens written to a 1-hour cache.")
    audio_input_tokens: Quantity | None = measure("Part of input_tokens that is audio.")
    image_input_tokens: Quantity | None = measure("Part of input_tokens that is images.")
    output_tokens: Quantity | None = measure("Tokens that were generated, all kinds, whether delivered or not.")
    reasoning_tokens: Quantity | None = measure("Part of output_tokens spent on reasoning.")
    audio_output_tokens: Quantity | None = measure("Part of output_tokens that is audio.")
    image_output_tokens: Quantity | None = measure("Part of output_tokens that is images.")
    accepted_prediction_tokens: Quantity | None = measure("Part of output_tokens that a predicted output supplied.")
    rejected_prediction_tokens: Quantity | None = measure("Part of output_tokens of a prediction that was not used.")
    delivered_output_tokens: Quantity | None = measure(
        "Part of output_tokens that reached the caller, where a request was cancelled or cut off.", samples=True
    )
    draft_tokens: Quantity | None = measure("Tokens that the draft model proposed.")
    accepted_draft_tokens: Quantity | None = measure("Part of draft_tokens that the large model kept.")
    denoising_steps: Quantity | None = measure("Denoising steps that were done, over all blocks.", samples=True)
    max_denoising_steps: Quantity | None = measure(
        "Denoising steps that the schedule allowed; what is missing from it was saved by stopping early.", samples=True
    )
    function_evaluations: Quantity | None = measure("Forward passes (NFE), prefill included.", samples=True)
    blocks: Quantity | None = measure("Blocks that were generated in turn.", samples=True)
    matrix_gflop: Quantity | None = measure(
        "Matrix operations of the model, in 10^9 floating point operations, by matrix_formula.", samples=True
    )
    draft_matrix_gflop: Quantity | None = measure("Matrix operations of the draft model, in 10^9.", samples=True)
    gpu_ms: Quantity | None = measure("Accelerator time, in ms, summed over the devices that were held.", samples=True)
    latency_ms: Quantity | None = measure("Time from request to last byte, in ms.", samples=True)
    time_to_first_token_ms: Quantity | None = measure("Time from request to first token, in ms.", samples=True)
    tool_calls: Quantity | None = measure("Calls of tools that the model asked for.")
    web_search_requests: Quantity | None = measure("Web searches that the server did.")
    upstream_cost_nanousd: Quantity | None = measure(
        "What the provider charged, in 10^-9 US dollars, as reported or computed by a gateway.", samples=True
    )
    quality_ppm: Quantity | None = measure(
        "Quality score of the answer, 0 to 10^6, by the operator's own measure.", samples=True, cap=1_000_000
    )
    complexity_ppm: Quantity | None = measure(
        "Complexity score of the query, 0 to 10^6, by the operator's own measure.", samples=True, cap=1_000_000
    )

    user: Text | None = text("Pseudonym of the end user, to count active users.", role=Role.SUBJECT)
    conversation: Text | None = text("Pseudonym of the conversation.", role=Role.SUBJECT)
    installation: Text | None = text("Random id of the installation, where a device took part.", role=Role.SUBJECT)

    request_id: Text | None = text("The server's own id of the request.", role=Role.DETAIL)
    attempt: Quantity | None = number("Which attempt of the request this was, from 1.", cap=1_000_000)
    parent_id: Text | None = text("Id of the event that led to this one, such as the local attempt.", role=Role.DETAIL)
    trace_id: Text | None = text("Trace that the request belongs to.", role=Role.DETAIL)

    RULES = (
        PartsWithin(
            ("cache_read_input_tokens", "cache_creation_input_tokens_5m", "cache_creation_input_tokens_1h"),
            "input_tokens",
        ),
        PartsWithin(("audio_input_tokens", "image_input_tokens"), "input_tokens"),
        PartsWithin(("reasoning_tokens", "audio_output_tokens", "image_output_tokens"), "output_tokens"),
        PartsWithin(("accepted_prediction_tokens", "rejected_prediction_tokens"), "output_tokens"),
        PartsWithin(("delivered_output_tokens",), "output_tokens"),
        PartsWithin(("accepted_draft_tokens",), "draft_tokens"),
        AbsentWhen("denoising_steps", "generation_mode", ("autoregressive",)),
        AbsentWhen("max_denoising_steps", "generation_mode", ("autoregressive",)),
        AbsentWhen("blocks", "generation_mode", ("autoregressive",)),
        NotAbove("denoising_steps", "max_denoising_steps"),
        NotAbove("blocks", "function_evaluations"),
        NotAbove("time_to_first_token_ms", "latency_ms"),
    )
    BANDS = (CONTEXT_BAND, STEPS_BAND)


class FallbackV1(EventData):
    """One local attempt that went to the cloud: why, and what it wasted. Nothing in it is billable."""

    TYPE = "fleetmeter.fallback.v1"
    SHORT = "fallback"
    COUNT_MEASURE = "fallbacks"

    model: Text = text("Local model that was tried.", required=True)
    fallback_reason: FallbackReason = choice("Why the query left the device.", required=True)
    fallback_model: Text | None = text("Cloud model that took over.")
    model_version: Text | None = text("Version of the local model.")
    quantization: Text | None = text("Number format of the local weights.")
    region: Text | None = text("Region of the cloud that took over.")
    project_id: Text | None = text("Project of the account that asked.")
    query_class: Text | None = text("Kind of query in the operator's own terms.")
    device_class: Text | None = text("Kind of device, such as phone-flagship or laptop-16gb.")
    labels: Labels | None = labels("Up to 8 labels with allow-listed keys; for analysis, never for prices.")

    wasted_input_tokens: Quantity | None = measure("Prompt tokens that the device processed in vain.")
    wasted_output_tokens: Quantity | None = measure("Tokens that the device generated in vain.")
    wasted_matrix_gflop: Quantity | None = measure("Matrix operations done in vain, in 10^9.", samples=True)
    wasted_active_ms: Quantity | None = measure("Time that the device computed in vain, in ms.", samples=True)

    user: Text | None = text("Pseudonym of the end user.", role=Role.SUBJECT)
    conversation: Text | None = text("Pseudonym of the conversation.", role=Role.SUBJECT)
    installation: Text | None = text("Random id of the installation.", role=Role.SUBJECT)

    generation_id: Text | None = text("Id of the cloud generation that answered.", role=Role.DETAIL)
    request_id: Text | None = text("The gateway's own id of the request.", role=Role.DETAIL)
    trace_id: Text | None = text("Trace that the request belongs to.", role=Role.DETAIL)


class DeviceReportV1(EventData):
    """What one installation chose to report of one period. Never priced per query.

    `installation` is a random, account-scoped, stable id made at install; an estimate carries `period_hash` instead,
    which rotates each period, so that estimates cannot be joined to a person.
    """

    TYPE = "fleetmeter.device_report.v1"
    SHORT = "device_report"

    kind: ReportKind = choice("What is reported.", required=True)
    period_start: Moment | None = moment("Start of the reported period.")
    period_end: Moment | None = moment("End of the reported period; periods of one installation are disjoint.")
    seat_kind: SeatKind | None = choice("What a seat is: a user or a device.")
    model: Text | None = text("Model that was downloaded, deployed, upgraded to, removed or used.")
    model_version: Text | None = text("Its version.")
    previous_model_version: Text | None = text("The version that an upgrade replaced.")
    quantization: Text | None = text("Number format of the weights.")
    device_class: Text | None = text("Kind of device, such as phone-flagship or laptop-16gb.")
    usage_fidelity: Fidelity | None = choice("How the quantities are known.")
    project_id: Text | None = text("Project of the account.")
    labels: Labels | None = labels("Up to 8 labels with allow-listed keys; for analysis, never for prices.")

    installation: Text | None = text("Random, account-scoped, stable id of the installation.", role=Role.SUBJECT)
    user: Text | None = text("Pseudonym of the user who has the seat.", role=Role.SUBJECT)
    period_hash: Text | None = text("Salted hash of the installation, rotated each period.", role=Role.DETAIL)

    queries: Quantity | None = number("Queries answered on the device: the device's own count or its best estimate.")
    queries_lower: Quantity | None = number("Least number of queries that the traits allow.")
    queries_upper: Quantity | None = number("Largest number of queries that the traits allow.")
    input_tokens: Quantity | None = number("Prompt tokens processed on the device.")
    input_tokens_lower: Quantity | None = number("Lower bound of input_tokens.")
    input_tokens_upper: Quantity | None = number("Upper bound of input_tokens.")
    output_tokens: Quantity | None = number("Tokens generated on the device.")
    output_tokens_lower: Quantity | None = number("Lower bound of output_tokens.")
    output_tokens_upper: Quantity | None = number("Upper bound of output_tokens.")
    active_ms: Quantity | None = number("Time that the device computed, in ms.")
    memory_bandwidth_mbps: Quantity | None = number("Memory bandwidth of the device, in 10^6 bytes/s.")

    RULES = (
        RequiredWhen("installation", "kind", ("seat", "download", "deploy", "upgrade", "remove")),
        RequiredWhen("seat_kind", "kind", ("seat",)),
        RequiredWhen("user", "seat_kind", ("user",)),
        RequiredWhen("model", "kind", ("download", "deploy", "upgrade", "remove", "estimate")),
        RequiredWhen("period_hash", "kind", ("estimate",)),
        RequiredWhen("period_start", "kind", ("seat", "estimate")),
        RequiredWhen("period_end", "kind", ("seat", "estimate")),
        AbsentWhen("installation", "kind", ("estimate",)),
        AbsentWhen("user", "kind", ("estimate",)),
        *(
            AbsentWhen(field, "kind", ("seat", "download", "deploy", "upgrade", "remove"))
            for field in ("queries", "input_tokens", "output_tokens", "active_ms")
        ),
        *(
            rule
            for field in ("queries", "input_tokens", "output_tokens")
            for rule in (
                NotAbove(f"{field}_lower", field),
                NotAbove(field, f"{field}_upper"),
                NotAbove(f"{field}_lower", f"{field}_upper"),
            )
        ),
        NotAbove("period_start", "period_end"),
        NearEventTime("period_start", _PERIOD_AGE_US, _PERIOD_AHEAD_US),
        NearEventTime("period_end", _PERIOD_AGE_US, _PERIOD_AHEAD_US),
    )


class OutcomeV1(EventData):
    """One business outcome, or the reversal of one."""

    TYPE = "fleetmeter.outcome.v1"
    SHORT = "outcome"

    name: Text = text("Name of the outcome, such as ticket_resolved.", required=True)
    quantity: Quantity = number("How many of them.", required=True)
    value_minor: Quantity | None = number("Value to the customer, in the currency's minor unit.")
    currency: Text | None = text("ISO 4217 code of value_minor, such as EUR.", max_length=3)
    reverses: Text | None = text("Id of the outcome event that this one takes back.", role=Role.DETAIL)
    generation_id: Text | None = text("Id of the generation behind the outcome.", role=Role.DETAIL)
    project_id: Text | None = text("Project of the account.")
    labels: Labels | None = labels("Up to 8 labels with allow-listed keys; for analysis, never for prices.")
    user: Text | None = text("Pseudonym of the end user.", role=Role.SUBJECT)
    conversation: Text | None = text("Pseudonym of the conversation.", role=Role.SUBJECT)
    installation: Text | None = text("Random id of the installation.", role=Role.SUBJECT)


class JobV1(EventData):
    """One finished job beside generation: fine-tuning, distillation, evaluation, or use of a premium feature."""

    TYPE = "fleetmeter.job.v1"
    SHORT = "job"

    kind: JobKind = choice("What was done.", required=True)
    base_model: Text | None = text("Model that the job started from.")
    result_model: Text | None = text("Model that the job made.")
    feature: Text | None = text("Name of the premium feature.")
    project_id: Text | None = text("Project of the account.")
    status: Status | None = choice("How the job ended.")
    labels: Labels | None = labels("Up to 8 labels with allow-listed keys; for analysis, never for prices.")
    training_tokens: Quantity | None = number("Tokens that were trained on, epochs counted.")
    gpu_ms: Quantity | None = number("Accelerator time, in ms, summed over the devices.")
    matrix_gflop: Quantity | None = number("Matrix operations, in 10^9.")
    units: Quantity | None = number("Units of the feature, in its own terms.")

    RULES = (
        RequiredWhen("base_model", "kind", ("fine_tuning", "distillation", "evaluation")),
        RequiredWhen("feature", "kind", ("premium_feature",)),
    )


class AdjustmentV1(EventData):
    """An operator's correction: a signed quantity on a meter. It has its own table and its own invoice line."""

    TYPE = "fleetmeter.adjustment.v1"
    SHORT = "adjustment"

    meter: Text = text("Name of the meter that is corrected, such as output_tokens.", required=True)
    quantity: SignedQuantity = number("What is added to the meter, or taken from it.", required=True, signed=True)
    reason: Text = text("Why, in a sentence that the customer may read.", required=True, max_length=512)
    reference: Text | None = text("Ticket or contract behind it.", role=Role.DETAIL)
    effective_time: Moment | None = moment("When the corrected usage happened; `time` is when it was decided.")
    model: Text | None = text("Model whose usage is corrected, where the meter is by model.")
    generation_mode: Literal["", "autoregressive", "diffusion", "block_diffusion", "hybrid"] | None = choice(
        "Generation mode whose usage is corrected."
    )
    project_id: Text | None = text("Project of the account.")


EVENT_TYPES: dict[str, type[EventData]] = {
    model.TYPE: model for model in (GenerationV1, FallbackV1, DeviceReportV1, OutcomeV1, JobV1, AdjustmentV1)
}
