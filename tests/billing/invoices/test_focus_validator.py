"""What the specification's public validator says of our rows. It has an environment of its own: `make test-focus`."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET

import orjson
import pytest
from fleetmeter_billing.invoices.focus import APPLICABLE, focus_csv
from fleetmeter_billing.invoices.invoice import Prepaid
from fleetmeter_doubles.invoice_samples import every_kind

FOCUS = Path(__file__).resolve().parents[3] / ".focus"
DEMO = FOCUS / "demo.csv"
"""The invoices of a simulated fleet, written by `fleetmeter demo --focus`."""
MODEL = "1.2.0.1"
"""The newest rules of FOCUS 1.2 that the package has inside, so that nothing is downloaded."""
CONTRADICTION = "InvoiceId-C-004-C"
"""These rules demand that InvoiceId is null in every row, and InvoiceId-C-005-C that it is null in none."""

pytestmark = pytest.mark.skipif(
    not (FOCUS / ".installed").exists(), reason="the FOCUS validator is not installed; `make test-focus` does it"
)


def validator_folder() -> Path:
    (found,) = FOCUS.glob("lib/python3*/site-packages")
    return found


def failing(rows: str, folder: Path) -> set[str]:
    """The rules that the validator found broken. Its exit code is 0 even then, so that its report has to be read."""
    data, report = folder / "focus.csv", folder / "report.xml"
    data.write_text(rows, encoding="utf-8")
    command = [
        *(str(FOCUS / "bin" / "focus-validator"), "--data-file", str(data), "--validate-version", MODEL),
        *("--block-download", "--applicability-criteria", ",".join(APPLICABLE)),
        *("--output-type", "unittest", "--output-destination", str(report)),
    ]
    # It opens its list of currencies by a path that holds only here.
    done = subprocess.run(command, cwd=validator_folder(), capture_output=True, text=True, timeout=120, check=False)
    assert report.exists(), done.stderr[-2000:]
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314  (written by the program that was just run)
    assert len(cases) > 500
    passed = [case for case in cases if not list(case)]
    assert len(passed) > 150
    return {
        str(case.get("name")).split(" ")[0]
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }


def test_the_rows_of_every_kind_of_line_are_accepted(tmp_path: Path) -> None:
    prepaid = Prepaid(Decimal(1_500), Decimal("1234.5"), Decimal("12.35"))
    invoices = [every_kind(), replace(every_kind(), number="2026-11-000002", prepaid=prepaid)]
    assert failing(focus_csv(invoices, "Parallel Inc."), tmp_path) == {CONTRADICTION}


@pytest.mark.skipif(not DEMO.exists(), reason="`make test-focus` makes the demo's invoices first")
def test_the_invoices_of_the_demo_are_accepted(tmp_path: Path) -> None:
    rows = DEMO.read_text("utf-8")
    assert len({row["InvoiceId"] for row in csv.DictReader(rows.splitlines())}) > 10
    assert failing(rows, tmp_path) == {CONTRADICTION}


def test_the_one_rule_that_is_broken_contradicts_another() -> None:
    text = (validator_folder() / "focus_validator" / "rules" / f"model-{MODEL}.json").read_bytes()
    rules = orjson.loads(text)["ModelRules"]
    null, never_null = (rules[name]["ValidationCriteria"] for name in (CONTRADICTION, "InvoiceId-C-005-C"))
    assert null["Condition"] == never_null["Condition"] == {}
    assert (null["Requirement"]["CheckFunction"], never_null["Requirement"]["CheckFunction"]) == (
        "CheckValue",
        "CheckNotValue",
    )
    assert null["Requirement"]["Value"] is never_null["Requirement"]["Value"] is None


def test_the_validator_notices_what_is_wrong(tmp_path: Path) -> None:
    rows = focus_csv([every_kind()], "Parallel Inc.").replace(",Generative AI,", ",Magic,")
    assert "ServiceSubcategory-C-003-M" in failing(rows, tmp_path)


if __name__ == "__main__":
    for name in sorted(failing(Path(sys.argv[1]).read_text("utf-8"), Path(sys.argv[2]))):
        print(name)
