"""Every command line in pages and messages is one that the command line understands."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleetmeter_doubles.written_commands import Written, in_page, in_source, misunderstood

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md"))
ROOMS = [path.parent for path in ROOT.glob("*/fleetmeter_*/__init__.py")]


def complaints(found: list[Written]) -> list[str]:
    return [f"{one}: {said}" for one in found if (said := misunderstood(one)) is not None]


def test_pages_show_commands_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = [one for path in PAGES for one in in_page(path, str(path.relative_to(ROOT)))]
    assert len([one for one in found if one.whole]) > 40
    assert complaints(found) == []


def test_messages_advise_commands_that_exist() -> None:
    files = [path for room in ROOMS for path in room.rglob("*.py")]
    found = [one for path in files for one in in_source(path, str(path.relative_to(ROOT)))]
    assert len(found) > 60
    assert complaints(found) == []


PAGE = """Run `fleetmeter invoice make`, or `fleetmeter invoice make 2026-11`. `fleetmeter nothing` is nothing.

    A=1 B=2 fleetmeter close --period 2026-11 \\
        --nonsense           # a comment, with `fleetmeter nothing` in it
    fleetmeter invoice make 2026-11
    fleetmeter usage --by model | head

```sh
fleetmeter invoice make
fleetmeter rates example hybrid > card.yaml && fleetmeter nothing
```
"""


def test_a_wrong_command_is_found_with_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    found = [(one.line, one.whole, misunderstood(one)) for one in in_page(page, "page.md")]
    assert [(line, whole) for line, whole, said in found if said is None] == [(1, False), (6, True), (10, True)]
    wrong = {(line, whole, (said or "").split(".")[0]) for line, whole, said in found if said is not None}
    missing = "Missing option '--period' / '-p'"
    assert wrong == {
        (1, False, "Got unexpected extra argument(s) (2026-11)"),
        (1, False, "No such command 'nothing'"),
        (3, True, "No such option: --nonsense"),
        (5, True, missing),
        (9, True, missing),
    }


def test_advice_in_code_is_found(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text('raise E(\n    f"{name}: run `fleetmeter invoice "\n    f"show {number} --nonsense`")\n')
    (found,) = in_source(file, "some.py")
    assert (found.text, misunderstood(found)) == ("fleetmeter invoice show 2 --nonsense", "No such option: --nonsense")
