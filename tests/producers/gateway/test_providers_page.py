"""The page about providers says what the code does."""

from pathlib import Path

from fleetmeter_producers.gateway import CONVENTIONS
from fleetmeter_producers.gateway.conventions import conventions_table
from fleetmeter_producers.gateway.notes import NoteCode

PAGE = (Path(__file__).parents[3] / "docs" / "producers" / "providers.md").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_code() -> None:
    assert conventions_table() in PAGE, "put what `conventions_table()` returns into docs/producers/providers.md"


def test_every_convention_says_where_it_is_written() -> None:
    assert all(convention.sources for convention in CONVENTIONS.values())


def test_every_kind_of_note_is_explained() -> None:
    assert [code for code in NoteCode if f"`{code.value}`" not in PAGE] == []
