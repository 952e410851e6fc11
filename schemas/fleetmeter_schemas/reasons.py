"""Why an event can be refused: a closed list, whose names and numbers never change their meaning."""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """A reason code: its stable number, and one sentence that says what was wrong and what to do."""

    TOMBSTONE = (1, "The record has no value. Send the event as the record's value; a null deletes nothing here.")
    TOO_LARGE = (2, "The record or event is larger than the limit. Send fewer events a record, or shorter fields.")
    NOT_JSON = (3, "The text is not valid JSON. Send a CloudEvent as JSON, an array of them, or one a line.")
    BAD_UTF8 = (4, "The bytes are not valid UTF-8. Encode the event as UTF-8 before sending it.")
    TOO_DEEP = (5, "The JSON is nested deeper than 64 levels. Flatten the unknown parts, or leave them out.")
    BAD_ARROW = (
        6,
        "The Arrow stream is not one of events of one type. Use the schema of fleetmeter_schemas.arrow.",
    )
    NOT_AN_OBJECT = (7, "An event must be a JSON object with the attributes of CloudEvents 1.0.")
    DUPLICATE_KEY = (8, "A field stands more than once, so that its value is ambiguous. Send each field once.")
    MISSING_FIELD = (9, "A required field is missing, null or empty. Fill it in.")
    WRONG_TYPE = (10, "A field has the wrong JSON type. Send it in the type that the schema names.")
    BAD_VALUE = (
        11,
        "A text is empty, too long, not one of the choices, or has control characters. Send one that is allowed.",
    )
    UNKNOWN_TYPE = (12, "The event type is not known to this worker. Check its spelling, or upgrade the workers.")
    BAD_TIME = (13, "The time is not RFC 3339 with an offset. Send it like 2026-03-01T12:00:00.000Z.")
    FRACTION = (14, "A quantity has a fraction or an exponent. Send whole numbers in the field's unit.")
    NEGATIVE = (15, "A quantity is below zero. Quantities are counts; corrections are adjustment events.")
    OVERFLOW = (16, "A quantity is above the field's cap. Check the unit; split what is really that large.")
    PART_EXCEEDS_WHOLE = (17, "A part is larger than the whole it belongs to. A part counts inside its whole.")
    NOT_ALLOWED = (18, "A field is present that this kind of event cannot have. Leave it out (absent is not zero).")
    TOO_OLD = (
        19,
        "A time is too far back; an event's, before the horizon in which duplicates can be told. Send an adjustment.",
    )
    IN_FUTURE = (20, "A time is in the future of the broker's clock, or of its event. Set the producer's clock right.")

    @property
    def number(self) -> int:
        """The stable number that the native core and the quarantine table use."""
        return self.value[0]

    @property
    def code(self) -> str:
        """The stable name, in lower case, as people query it."""
        return self.name.lower()

    @property
    def sentence(self) -> str:
        """What was wrong and what to do, for people."""
        return self.value[1]

    @classmethod
    def of_number(cls, number: int) -> Reason:
        """The reason with a number; raises `ValueError` for a number that no version has used."""
        for reason in cls:
            if reason.number == number:
                return reason
        raise ValueError(f"no reason has the number {number}")
