"""Declarations of fields, against what pydantic does with values."""

from typing import Any, Literal

import pytest
from fleetmeter_schemas import EVENT_TYPES, EventData
from fleetmeter_schemas.fields import QUANTITY_CAP, FieldSpec, Kind, Role, choice, field_table, text
from pydantic import BaseModel, TypeAdapter, ValidationError

FIELDS = [(model, spec) for model in EVENT_TYPES.values() for spec in field_table(model)]


def _ids(value: object) -> str:
    if isinstance(value, FieldSpec):
        return value.name
    return str(getattr(value, "SHORT", value))


def _adapter(model: type[EventData], name: str) -> TypeAdapter[Any]:
    """The validator of one field alone."""
    info = model.model_fields[name]
    return TypeAdapter(info.rebuild_annotation(), config={"strict": True})


def _accepts(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(("model", "spec"), FIELDS, ids=_ids)
def test_a_declaration_says_what_pydantic_accepts(model: type[EventData], spec: FieldSpec) -> None:
    adapter = _adapter(model, spec.name)
    assert _accepts(adapter, None) is not spec.required
    assert not _accepts(adapter, ["x"])
    assert not _accepts(adapter, True)
    match spec.kind:
        case Kind.UINT | Kind.INT:
            assert spec.cap is not None
            assert 0 < spec.cap <= QUANTITY_CAP
            assert _accepts(adapter, spec.cap)
            assert not _accepts(adapter, spec.cap + 1)
            assert _accepts(adapter, -1) is (spec.kind is Kind.INT)
            assert _accepts(adapter, -spec.cap) is (spec.kind is Kind.INT)
            assert not _accepts(adapter, -spec.cap - 1)
            assert not _accepts(adapter, "1")
            assert not _accepts(adapter, 1.0)
        case Kind.STRING if spec.choices is not None:
            assert all(_accepts(adapter, value) for value in spec.choices)
            assert not _accepts(adapter, "no such choice")
            assert _accepts(adapter, "") is not spec.required
        case Kind.STRING:
            assert spec.max_length is not None
            assert _accepts(adapter, "🦙" * spec.max_length)
            assert not _accepts(adapter, "🦙" * (spec.max_length + 1))
            assert not any(_accepts(adapter, f"a{ch}b") for ch in "\x00\n\x1f\x7f")
            assert _accepts(adapter, "") is not spec.required
        case Kind.TIME:
            assert _accepts(adapter, "2026-03-01T12:00:00Z")
            assert not _accepts(adapter, "2026-03-01")
        case Kind.LABELS:
            assert _accepts(adapter, {"team": "a"})
            assert not _accepts(adapter, {"team": 1})


@pytest.mark.parametrize(("model", "spec"), FIELDS, ids=_ids)
def test_roles_fit_kinds(model: type[EventData], spec: FieldSpec) -> None:
    assert spec.meaning.endswith(".")
    assert (spec.role is Role.MEASURE) <= (spec.kind is Kind.UINT)
    assert (spec.role is Role.SUBJECT) <= (spec.kind is Kind.STRING and not spec.required)
    assert (spec.role is Role.DIMENSION) <= (spec.kind in {Kind.STRING, Kind.LABELS})
    assert spec.samples <= (spec.role is Role.MEASURE)
    assert "subject" not in spec.name, "the account is the envelope's subject and stands nowhere else"


def test_subjects_are_the_three_kinds_that_are_counted() -> None:
    assert {spec.name for _, spec in FIELDS if spec.role is Role.SUBJECT} == {"user", "conversation", "installation"}


def test_choices_come_from_the_annotation() -> None:
    class Sample(BaseModel):
        mode: Literal["a", "b"] | None = choice("A mode.")
        plain: str | None = text("A text.")

    mode, plain = field_table(Sample)
    assert mode.choices == ("a", "b")
    assert plain.choices is None


def test_an_undeclared_field_is_an_error() -> None:
    class Sample(BaseModel):
        stray: int = 1

    with pytest.raises(TypeError, match=r"Sample\.stray"):
        field_table(Sample)
