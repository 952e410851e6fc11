"""Quantities: whole numbers up to a cap, as they are written."""

from contract_vectors.vector import OK, Outcome, Vector, counted, of_type, one, refused, with_data_text

_CAP = 2**40


def _short(literal: str) -> str:
    return literal if len(literal) <= 40 else f"{literal[:8]}...{literal[-4:]}, {len(literal)} characters"


def _tokens(literal: str, outcome: Outcome) -> Vector:
    return one(f"input_tokens {_short(literal)}", with_data_text(f'"input_tokens": {literal}'), outcome)


def _quality(literal: str, outcome: Outcome) -> Vector:
    return one(f"quality_ppm {literal}", with_data_text(f'"quality_ppm": {literal}'), outcome)


def _adjustment(literal: str, outcome: Outcome) -> Vector:
    text = of_type("adjustment", meter="output_tokens", quantity="?", reason="r").replace('"?"', literal)
    return one(f"adjustment of {_short(literal)}", text, outcome)


def _refused(code: str, name: str = "input_tokens") -> Outcome:
    return refused(code, f"data.{name}")


VECTORS = [
    _tokens("0", counted(input_tokens=0, context_band="0-32k")),
    _tokens("-0", counted(input_tokens=0, context_band="0-32k")),
    _tokens("1", counted(input_tokens=1)),
    _tokens("32000", counted(input_tokens=32_000, context_band="0-32k")),
    _tokens("32001", counted(input_tokens=32_001, context_band="32k-128k")),
    _tokens("1000000", counted(context_band="272k-1000k")),
    _tokens("1000001", counted(context_band="1000k+")),
    _tokens("null", counted(input_tokens=0, context_band="")),
    _tokens(str(_CAP), counted(input_tokens=_CAP, context_band="1000k+")),
    _tokens(str(_CAP + 1), _refused("overflow")),
    _tokens(str(2**63), _refused("overflow")),
    _tokens(str(2**64), _refused("overflow")),
    _tokens(str(2**64 + 5), _refused("overflow")),
    _tokens(str(2**128 + 5), _refused("overflow")),
    _tokens("1" + "0" * 400, _refused("overflow")),
    _tokens("9" * 10_000, _refused("overflow")),
    _tokens("-1", _refused("negative")),
    _tokens("-9" + "0" * 400, _refused("negative")),
    _tokens("1.0", _refused("fraction")),
    _tokens("1.5", _refused("fraction")),
    _tokens("0.0", _refused("fraction")),
    _tokens("-0.0", _refused("fraction")),
    _tokens("1e3", _refused("fraction")),
    _tokens("1E3", _refused("fraction")),
    _tokens("1e+3", _refused("fraction")),
    _tokens("0e0", _refused("fraction")),
    _tokens("-1e3", _refused("fraction")),
    _tokens("-1.5", _refused("fraction")),
    _tokens("1e400", _refused("fraction")),
    _tokens("1e-400", _refused("fraction")),
    _tokens("1" + "0" * 400 + ".5", _refused("fraction")),
    _tokens('"5"', _refused("wrong_type")),
    _tokens('""', _refused("wrong_type")),
    _tokens("true", _refused("wrong_type")),
    _tokens("false", _refused("wrong_type")),
    _tokens("[5]", _refused("wrong_type")),
    _tokens("{}", _refused("wrong_type")),
    _quality("1000000", counted(quality_ppm=1_000_000, quality_ppm_samples=1)),
    _quality("1000001", _refused("overflow", "quality_ppm")),
    _quality("0", counted(quality_ppm=0, quality_ppm_samples=1)),
    _quality("null", counted(quality_ppm=0, quality_ppm_samples=0)),
    one("steps of 5", with_data_text('"denoising_steps": 5'), counted(denoising_steps=5, steps_band="0-5")),
    one("steps of 6", with_data_text('"denoising_steps": 6'), counted(denoising_steps=6, steps_band="5-10")),
    one("steps of 1001", with_data_text('"denoising_steps": 1001'), counted(steps_band="1000+")),
    one("no steps", with_data_text('"blocks": null'), counted(denoising_steps_samples=0, steps_band="")),
    one("attempt above its cap", with_data_text('"attempt": 1000001'), _refused("overflow", "attempt")),
    one("a detail is judged as a measure is", with_data_text('"attempt": 1.0'), _refused("fraction", "attempt")),
    one("an unknown number may be anything", with_data_text('"x": -1.5e-400'), counted(1)),
    _adjustment("-5", OK),
    _adjustment("5", OK),
    _adjustment("0", OK),
    _adjustment("-0", OK),
    _adjustment(str(-_CAP), OK),
    _adjustment(str(-_CAP - 1), _refused("overflow", "quantity")),
    _adjustment(str(_CAP + 1), _refused("overflow", "quantity")),
    _adjustment("-" + "9" * 500, _refused("overflow", "quantity")),
    _adjustment("-5.0", _refused("fraction", "quantity")),
    _adjustment('"5"', _refused("wrong_type", "quantity")),
    _adjustment("null", _refused("missing_field", "quantity")),
]
