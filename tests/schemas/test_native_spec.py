"""The native core's table, against the contract that the core was built to."""

import orjson
from fleetmeter_schemas import EVENT_TYPES, native_spec
from fleetmeter_schemas.native_spec import ledger_dimensions, ledger_measures

SPEC = orjson.loads(native_spec())


def test_shape() -> None:
    assert set(SPEC) == {"version", "envelope", "known_attributes", "types", "ledger", "reasons"}
    assert SPEC["version"] == 1
    assert SPEC["envelope"] == {"id": 128, "source": 256, "subject": 128}
    for row in SPEC["types"]:
        assert set(row) == {"name", "short", "route", "count_measure", "fields", "rules", "bands"}
        for field in row["fields"]:
            assert set(field) == {"name", "role", "kind", "required", "max_length", "choices", "cap", "samples"}


def test_routes() -> None:
    assert {row["short"]: (row["route"], row["count_measure"]) for row in SPEC["types"]} == {
        "generation": ("rollup", "requests"),
        "fallback": ("rollup", "fallbacks"),
        "device_report": ("fact", None),
        "outcome": ("fact", None),
        "job": ("fact", None),
        "adjustment": ("fact", None),
    }


def test_rules_and_bands_name_fields_of_their_type() -> None:
    for row in SPEC["types"]:
        kinds = {field["name"]: field["kind"] for field in row["fields"]}
        for rule in row["rules"]:
            names = {rule.get(key) for key in ("whole", "field", "limit", "on")} - {None}
            assert names | set(rule.get("parts", [])) <= set(kinds), rule
            if "on" in rule:
                choices = next(field["choices"] for field in row["fields"] if field["name"] == rule["on"])
                assert set(rule["values"]) <= set(choices), rule
        for band in row["bands"]:
            assert kinds[band["of"]] == "uint"
            assert len(band["labels"]) == len(band["thresholds"]) + 1
            assert band["thresholds"] == sorted(set(band["thresholds"]))


def test_the_ledger_has_every_dimension_and_measure_of_rollups_once() -> None:
    dimensions, measures = set(), set()
    for row in SPEC["types"]:
        if row["route"] == "fact":
            continue
        measures.add(row["count_measure"])
        dimensions |= {field["name"] for field in row["fields"] if field["role"] == "dimension"}
        dimensions |= {band["name"] for band in row["bands"]}
        for field in row["fields"]:
            if field["role"] == "measure":
                measures |= {field["name"]} | ({f"{field['name']}_samples"} if field["samples"] else set())
    assert sorted(SPEC["ledger"]["dimensions"]) == sorted(dimensions)
    assert sorted(SPEC["ledger"]["measures"]) == sorted(measures)
    assert SPEC["ledger"] == {"dimensions": list(ledger_dimensions()), "measures": list(ledger_measures())}
    assert dimensions.isdisjoint(measures)


def test_every_type_is_there_in_order() -> None:
    assert [row["name"] for row in SPEC["types"]] == list(EVENT_TYPES)
