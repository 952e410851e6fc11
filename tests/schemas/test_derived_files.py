"""The files in the repository that follow from the declarations are up to date, and made again by one command."""

from pathlib import Path, PurePosixPath

import pytest
from fleetmeter_schemas import EVENT_TYPES
from fleetmeter_schemas.__main__ import main
from fleetmeter_schemas.derived_files import EVENT_REFERENCE, JSON_SCHEMAS, derived_files
from fleetmeter_schemas.fields import field_table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", derived_files(), ids=str)
def test_is_up_to_date(path: PurePosixPath) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == derived_files()[path], "run: python -m fleetmeter_schemas"


def test_no_stale_schema_is_left() -> None:
    kept = {path.name for path in (ROOT / JSON_SCHEMAS).iterdir()}
    assert kept == {path.name for path in derived_files() if path.parent == JSON_SCHEMAS}


def test_the_command_writes_only_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "schemas" / "fleetmeter_schemas").mkdir(parents=True)
    assert main([str(tmp_path)]) == 0
    assert set(capsys.readouterr().out.split()) == {str(path) for path in derived_files()}
    (tmp_path / EVENT_REFERENCE).write_text("stale")
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == [str(EVENT_REFERENCE)]
    assert (tmp_path / EVENT_REFERENCE).read_text(encoding="utf-8") == derived_files()[EVENT_REFERENCE]


def test_the_command_names_a_wrong_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_the_reference_has_a_row_for_each_field() -> None:
    text = (ROOT / EVENT_REFERENCE).read_text(encoding="utf-8")
    sections = text.split("\n## ")[1:]
    for model, section in zip(EVENT_TYPES.values(), sections, strict=False):
        assert section.startswith(f"`{model.TYPE}`")
        rows = [line for line in section.splitlines() if line.startswith(("| ", "| **")) and "---" not in line]
        for spec in field_table(model):
            name = f"**{spec.name}**" if spec.required else spec.name
            assert any(row.startswith(f"| {name} | {spec.role.value} |") for row in rows), spec.name
        assert section.count("\n- ") == len(model.RULES)
