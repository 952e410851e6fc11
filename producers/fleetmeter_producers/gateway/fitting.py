"""Making measures fit the rules of the contract, so that what a provider got wrong never costs the event."""

from __future__ import annotations

from typing import Any

from fleetmeter_schemas.events import GenerationV1
from fleetmeter_schemas.fields import QUANTITY_CAP
from fleetmeter_schemas.rules import AbsentWhen, NotAbove, PartsWithin

from fleetmeter_producers.gateway.notes import Note, NoteCode


def fit(fields: dict[str, Any], notes: list[Note]) -> dict[str, Any]:
    """The fields that are known and obey the rules of `GenerationV1`; what is left out for a rule's sake is noted.

    A whole is what providers bill by, so it stands. Parts that are more than their whole can't all be true: they are
    left out from the last one on, until the others fit. Which one was wrong nobody here can know; left out, it is
    billed as an ordinary token, which it is at least.
    """
    kept = {name: value for name, value in fields.items() if value is not None}
    for name, value in list(kept.items()):
        if isinstance(value, int) and value > QUANTITY_CAP:
            notes.append(Note(NoteCode.BAD_NUMBER, name, f"is {value}, more than 2^40: left out"))
            del kept[name]
    for rule in GenerationV1.RULES:
        while (violation := _violation(rule, kept)) is not None:
            name, sentence = violation
            notes.append(Note(NoteCode.PARTS_DO_NOT_FIT, name, f"{sentence}: {name} is left out"))
            del kept[name]
    return kept


def _violation(rule: object, fields: dict[str, Any]) -> tuple[str, str] | None:
    """The field to leave out, and why."""
    if not isinstance(rule, PartsWithin | NotAbove | AbsentWhen):
        return None
    violation = rule.check(fields)
    if violation is None:
        return None
    if isinstance(rule, PartsWithin):
        return next(part for part in reversed(rule.parts) if fields.get(part)), violation.sentence
    return rule.field, violation.sentence
