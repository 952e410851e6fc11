"""Reading JSON that others wrote: what can be understood is taken, what can't is noted and left out. Nothing raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from fleetmeter_schemas.fields import QUANTITY_CAP, TEXT_LENGTH

from fleetmeter_producers.gateway.notes import Note, NoteCode

_EMPTY: Final[Mapping[str, Any]] = {}


class Block:
    """A JSON object, and the list that notes about it go to. `path` says where it stands, for the notes.

    Each reader takes names of one thing, of which the first that is there and not null counts.
    """

    def __init__(self, value: object, notes: list[Note], path: str = "usage") -> None:
        if value is not None and not isinstance(value, Mapping):
            notes.append(Note(NoteCode.BAD_SHAPE, path, f"is {_kind(value)} instead of an object"))
        self._value: Mapping[Any, Any] = value if isinstance(value, Mapping) else _EMPTY
        self._path = path
        self.notes = notes

    def has(self, *names: str) -> bool:
        """Whether any of the names is there and not null."""
        return any(self._value.get(name) is not None for name in names)

    def with_more(self, **more: object) -> Block:
        """The object with other values under some names."""
        return Block({**self._value, **more}, self.notes, self._path)

    def quantity(self, *names: str) -> int | None:
        """A whole number from 0 to the contract's cap; None where there is none."""
        name, value = self._first(names)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= QUANTITY_CAP:
            return value
        self.note(NoteCode.BAD_NUMBER, name, f"is {_shown(value)}; a quantity is a whole number from 0 to 2^40")
        return None

    def number(self, *names: str) -> float | None:
        """A finite number that is not negative, such as a duration or a price."""
        name, value = self._first(names)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= QUANTITY_CAP**2:
            return float(value)
        self.note(NoteCode.BAD_NUMBER, name, f"is {_kind(value)} or out of range; a number from 0 is expected")
        return None

    def text(self, *names: str) -> str | None:
        """A text that the contract takes: cut to its length, without control characters; None where empty."""
        name, value = self._first(names)
        if value is None:
            return None
        if not isinstance(value, str):
            self.note(NoteCode.BAD_SHAPE, name, f"is {_kind(value)} instead of a text")
            return None
        cleaned = clean_text(value)
        if cleaned != value:
            self.note(NoteCode.BAD_TEXT, name, f"has {len(value)} characters, or control characters: cut")
        return cleaned or None

    def part(self, *names: str) -> Block:
        """An object inside; an empty one where there is none."""
        name, value = self._first(names)
        return Block(value, self.notes, f"{self._path}.{name}")

    def items(self, *names: str) -> list[Block]:
        """The objects of a list inside; none where there is no list."""
        name, value = self._first(names)
        if value is None:
            return []
        path = f"{self._path}.{name}"
        if not isinstance(value, list | tuple):
            self.notes.append(Note(NoteCode.BAD_SHAPE, path, f"is {_kind(value)} instead of a list"))
            return []
        return [Block(item, self.notes, path) for item in value if item is not None]

    def raw(self, *names: str) -> Any:
        """The value as it stands; None where there is none."""
        return self._first(names)[1]

    def all(self) -> dict[str, Any]:
        """Everything in it, as it stands."""
        return {str(name): value for name, value in self._value.items()}

    def note(self, code: NoteCode, name: str, sentence: str) -> None:
        """Note something about a field of this object."""
        self.notes.append(Note(code, f"{self._path}.{name}", sentence))

    def _first(self, names: tuple[str, ...]) -> tuple[str, Any]:
        for name in names:
            value = self._value.get(name)
            if value is not None:
                return name, value
        return names[0], None


def clean_text(value: str) -> str:
    """A text as the contract takes it: at most 128 characters, none of them a control character."""
    return "".join(ch for ch in value[: 2 * TEXT_LENGTH] if ch >= " " and ch != "\x7f" and not _lone(ch))[:TEXT_LENGTH]


def plain(value: object) -> object:
    """The JSON form of an answer: that of the SDKs' pydantic models; everything else is returned as it is."""
    if isinstance(value, Mapping):
        return value
    dump = getattr(value, "model_dump", None)
    if not callable(dump):
        return value
    try:
        return cast("object", dump())
    except Exception as error:  # noqa: BLE001  (code of others, on an answer that the caller has already)
        return f"an object whose model_dump fails with {type(error).__name__}"


def _lone(ch: str) -> bool:
    """Half of a surrogate pair, which JSON can spell and UTF-8 can't."""
    return "\ud800" <= ch <= "\udfff"


def _shown(value: object) -> str:
    """A number of sensible size, or what kind of thing it is: never a text, which may come from a prompt."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**18:
        return repr(value)
    return _kind(value)


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a text", int: "a number", float: "a number", list: "a list", tuple: "a list"}
    return names.get(type(value), "something else")
