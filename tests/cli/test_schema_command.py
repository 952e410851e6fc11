"""`fleetmeter schema`: the contract in its forms."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def test_the_types_are_listed(fleetmeter: Callable[..., Any]) -> None:
    listed = fleetmeter("schema", "list", "--json").json
    assert [each["type"] for each in listed] == [
        "fleetmeter.generation.v1",
        "fleetmeter.fallback.v1",
        "fleetmeter.device_report.v1",
        "fleetmeter.outcome.v1",
        "fleetmeter.job.v1",
        "fleetmeter.adjustment.v1",
    ]


def test_a_type_is_shown_by_any_of_its_names(fleetmeter: Callable[..., Any]) -> None:
    schemas = [
        fleetmeter("schema", "show", name, "--json").json
        for name in ("generation", "generation.v1", "fleetmeter.generation.v1")
    ]
    assert schemas[0] == schemas[1] == schemas[2]
    assert schemas[0]["properties"]["type"] == {"const": "fleetmeter.generation.v1"}
    table = fleetmeter("schema", "show", "generation").out
    assert "denoising_steps" in table


def test_an_unknown_type_is_answered_with_those_that_exist(fleetmeter: Callable[..., Any]) -> None:
    ended = fleetmeter("schema", "show", "generatoin")
    assert ended.code == 2
    assert "generation, fallback" in ended.err


def test_the_reference_is_the_one_in_the_docs(fleetmeter: Callable[..., Any]) -> None:
    printed = fleetmeter("schema", "docs").out
    assert printed == (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert json.loads(fleetmeter("schema", "docs", "--json").out)["markdown"] == printed


def test_the_catalogue_is_printed(fleetmeter: Callable[..., Any]) -> None:
    models = {model["name"]: model for model in fleetmeter("schema", "models", "--json").json["models"]}
    assert models["llada-8b-instruct"]["generation_mode"] == "diffusion"
    assert "llada-8b-instruct" in fleetmeter("schema", "models").out
