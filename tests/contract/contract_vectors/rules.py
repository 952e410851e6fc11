"""Rules between the fields of one event, in their declared order."""

from typing import Any

from contract_vectors.vector import OK, Outcome, Vector, counted, event, generation, of_type, one, refused

_REPORT = "fleetmeter.device_report.v1"
_PERIOD = {"period_start": "2026-02-01T00:00:00Z", "period_end": "2026-03-01T00:00:00Z"}
_SEAT = {"kind": "seat", "installation": "i", "seat_kind": "device", **_PERIOD}
_ESTIMATE = {"kind": "estimate", "model": "m", "period_hash": "h", **_PERIOD}


def _part(name: str, *, whole: str, part: int, of: int | None, outcome: Outcome) -> Vector:
    fields = {name: part} if of is None else {name: part, whole: of}
    return one(f"{name} {part} of {of}", generation(**fields), outcome)


def _exceeds(name: str) -> Outcome:
    return refused("part_exceeds_whole", f"data.{name}")


def _too_old(name: str) -> Outcome:
    return refused("too_old", f"data.{name}")


def _in_future(name: str) -> Outcome:
    return refused("in_future", f"data.{name}")


def _report(name: str, base: dict[str, Any], outcome: Outcome, **changes: Any) -> Vector:
    data = {key: value for key, value in {**base, **changes}.items() if value is not ...}
    return one(f"device_report: {name}", of_type("device_report", **data), outcome)


VECTORS = [
    _part("cache_read_input_tokens", whole="input_tokens", part=5, of=5, outcome=counted(cache_read_input_tokens=5)),
    _part("cache_read_input_tokens", whole="input_tokens", part=6, of=5, outcome=_exceeds("cache_read_input_tokens")),
    _part(
        "cache_read_input_tokens", whole="input_tokens", part=1, of=None, outcome=_exceeds("cache_read_input_tokens")
    ),
    _part("cache_read_input_tokens", whole="input_tokens", part=0, of=None, outcome=counted(input_tokens=0)),
    _part("delivered_output_tokens", whole="output_tokens", part=9, of=8, outcome=_exceeds("delivered_output_tokens")),
    _part("accepted_draft_tokens", whole="draft_tokens", part=9, of=8, outcome=_exceeds("accepted_draft_tokens")),
    _part("audio_input_tokens", whole="input_tokens", part=2**40, of=2**40, outcome=counted(audio_input_tokens=2**40)),
    _part("denoising_steps", whole="max_denoising_steps", part=9, of=8, outcome=_exceeds("denoising_steps")),
    _part("denoising_steps", whole="max_denoising_steps", part=8, of=8, outcome=OK),
    _part("denoising_steps", whole="max_denoising_steps", part=9, of=None, outcome=OK),
    _part("blocks", whole="function_evaluations", part=3, of=2, outcome=_exceeds("blocks")),
    _part("blocks", whole="function_evaluations", part=3, of=0, outcome=_exceeds("blocks")),
    _part("time_to_first_token_ms", whole="latency_ms", part=3, of=2, outcome=_exceeds("time_to_first_token_ms")),
    one(
        "parts that fit one by one but not together",
        generation(input_tokens=10, cache_read_input_tokens=6, cache_creation_input_tokens_1h=5),
        _exceeds("cache_read_input_tokens"),
    ),
    one(
        "the first part above zero is to blame",
        generation(input_tokens=1, cache_read_input_tokens=0, cache_creation_input_tokens_1h=5),
        _exceeds("cache_creation_input_tokens_1h"),
    ),
    one(
        "parts that would pass 2^40 together",
        generation(output_tokens=2**40, reasoning_tokens=2**40, audio_output_tokens=2**40, image_output_tokens=2**40),
        _exceeds("reasoning_tokens"),
    ),
    one(
        "parts of different kinds may overlap",
        generation(input_tokens=5, cache_read_input_tokens=5, audio_input_tokens=5),
        counted(input_tokens=5, audio_input_tokens=5),
    ),
    one(
        "rules in their order",
        generation(draft_tokens=1, accepted_draft_tokens=2, output_tokens=1, reasoning_tokens=2),
        _exceeds("reasoning_tokens"),
    ),
    *(
        one(
            f"{name} = {value} of an autoregressive generation",
            generation(generation_mode="autoregressive", **{name: value}),
            refused("not_allowed", f"data.{name}"),
        )
        for name in ("denoising_steps", "max_denoising_steps", "blocks")
        for value in (0, 7)
    ),
    one(
        "null steps of an autoregressive generation",
        generation(generation_mode="autoregressive", denoising_steps=None),
        OK,
    ),
    one(
        "function evaluations of an autoregressive generation",
        generation(generation_mode="autoregressive", function_evaluations=7),
        OK,
    ),
    one(
        "not allowed before not above",
        generation(generation_mode="autoregressive", blocks=9, denoising_steps=9, max_denoising_steps=1),
        refused("not_allowed", "data.denoising_steps"),
    ),
    _report("seat of a device", _SEAT, OK),
    _report("seat without installation", _SEAT, refused("missing_field", "data.installation"), installation=...),
    _report("seat with an empty installation", _SEAT, refused("missing_field", "data.installation"), installation=""),
    _report("seat without seat_kind", _SEAT, refused("missing_field", "data.seat_kind"), seat_kind=...),
    _report("seat of nobody", _SEAT, refused("missing_field", "data.user"), seat_kind="user"),
    _report("seat of a user", _SEAT, OK, seat_kind="user", user="u"),
    _report(
        "seat without period", _SEAT, refused("missing_field", "data.period_start"), period_start=..., period_end=...
    ),
    _report("seat without end", _SEAT, refused("missing_field", "data.period_end"), period_end=...),
    _report("period turned round", _SEAT, _exceeds("period_start"), period_start="2026-03-01T00:00:00.000001Z"),
    _report("period of no length", _SEAT, OK, period_start="2026-03-01T00:00:00Z"),
    _report(
        "instants are compared, not texts",
        _SEAT,
        OK,
        period_start="2026-03-01T05:00:00+06:00",
        period_end="2026-02-28T23:30:00Z",
    ),
    _report(
        "offsets that turn the period round", _SEAT, _exceeds("period_start"), period_start="2026-02-28T20:00:00-05:00"
    ),
    _report(
        "bad time before rules", _SEAT, refused("bad_time", "data.period_start"), period_start="x", installation=...
    ),
    _report("download", {"kind": "download", "installation": "i", "model": "m"}, OK),
    _report("download of nothing", {"kind": "download", "installation": "i"}, refused("missing_field", "data.model")),
    _report(
        "download with queries",
        {"kind": "download", "installation": "i", "model": "m"},
        refused("not_allowed", "data.queries"),
        queries=0,
    ),
    _report("estimate", _ESTIMATE, OK, queries=5, queries_lower=5, queries_upper=5),
    _report(
        "estimate that names the installation", _ESTIMATE, refused("not_allowed", "data.installation"), installation="i"
    ),
    _report("estimate with an empty installation", _ESTIMATE, OK, installation=""),
    _report("estimate without a hash", _ESTIMATE, refused("missing_field", "data.period_hash"), period_hash=...),
    _report("lower bound above the estimate", _ESTIMATE, _exceeds("queries_lower"), queries=5, queries_lower=6),
    _report(
        "estimate above its upper bound", _ESTIMATE, _exceeds("output_tokens"), output_tokens=5, output_tokens_upper=4
    ),
    _report(
        "bounds alone, turned round",
        _ESTIMATE,
        _exceeds("input_tokens_lower"),
        input_tokens_lower=5,
        input_tokens_upper=4,
    ),
    _report("kind missing", {}, refused("missing_field", "data.kind")),
    _report("kind unknown", {"kind": "lost"}, refused("bad_value", "data.kind")),
    _report("period of 400 days", _SEAT, OK, period_start="2025-01-25T12:00:00Z"),
    _report("longer", _SEAT, _too_old("period_start"), period_start="2025-01-25T11:59:59.999999Z"),
    _report(
        "long ago",
        _SEAT,
        _too_old("period_start"),
        period_start="1970-01-01T00:00:00Z",
        period_end="1970-01-02T00:00:00Z",
    ),
    _report("before time began", _SEAT, _too_old("period_start"), period_start="0001-01-01T00:00:00+23:59"),
    _report("period to 5 minutes ahead", _SEAT, OK, period_end="2026-03-01T12:05:00Z"),
    _report("period in the future", _SEAT, _in_future("period_end"), period_end="2026-03-01T12:05:00.000001Z"),
    _report(
        "all in the future",
        _SEAT,
        _in_future("period_start"),
        period_start="2026-03-02T00:00:00Z",
        period_end="2026-03-02T01:00:00Z",
    ),
    _report("turned round before in the future", _SEAT, _exceeds("period_start"), period_start="2027-03-02T00:00:00Z"),
    _report("end of time", _SEAT, _in_future("period_end"), period_end="9999-12-31T23:59:59-23:59"),
    one(
        "device_report: a period is judged against the event's time, not the broker's",
        event(
            "e-1",
            {**_SEAT, "period_start": "2025-01-24T12:00:00Z", "period_end": "2026-02-28T12:00:00Z"},
            type=_REPORT,
            time="2026-02-28T12:00:00Z",
        ),
        OK,
    ),
    one(
        "device_report: a period before an event that is too old itself",
        event("e-1", {**_SEAT, "period_start": "2018-01-24T12:00:00Z"}, type=_REPORT, time="2020-02-28T12:00:00Z"),
        _too_old("period_start"),
    ),
    one("job without a base model", of_type("job", kind="fine_tuning"), refused("missing_field", "data.base_model")),
    one("job", of_type("job", kind="fine_tuning", base_model="m", gpu_ms=2**40), OK),
    one("feature without a name", of_type("job", kind="premium_feature"), refused("missing_field", "data.feature")),
]
