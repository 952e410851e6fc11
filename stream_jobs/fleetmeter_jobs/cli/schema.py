"""`fleetmeter schema`: the event contract, for people, for other languages and for the docs."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from fleetmeter_schemas import EVENT_TYPES, EventData, load_catalogue
from fleetmeter_schemas.documentation import event_reference
from fleetmeter_schemas.fields import field_table
from fleetmeter_schemas.json_schema import json_schema

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.options import Json
from fleetmeter_jobs.cli.output import print_json, print_table

app = command_app(help="Print the event contract: types, JSON Schema, reference, model catalogue.")

TypeName = Annotated[
    str, typer.Argument(metavar="TYPE", help="An event type, such as generation; with or without .v1.")
]


@app.command("list")
def list_types(as_json: Json = False) -> None:
    """List the event types.

    Example: fleetmeter schema list
    """
    rows = [(model.TYPE, len(field_table(model)), _summary(model)) for model in EVENT_TYPES.values()]
    if as_json:
        print_json([{"type": name, "fields": count, "meaning": meaning} for name, count, meaning in rows])
    else:
        print_table(("type", "fields", "meaning"), rows)


@app.command("show")
def show_type(type_name: TypeName, as_json: Json = False) -> None:
    """Show the fields of one event type. With --json, its JSON Schema (draft 2020-12), for producers in any language.

    Example: fleetmeter schema show generation --json > generation.schema.json
    """
    model = _find(type_name)
    if as_json:
        print_json(json_schema(model))
        return
    rows = [
        (spec.name + (" *" if spec.required else ""), spec.role.value, spec.kind.value, spec.meaning)
        for spec in field_table(model)
    ]
    print_table(("field (* required)", "role", "kind", "meaning"), rows, title=model.TYPE)


@app.command("docs")
def docs(as_json: Json = False) -> None:
    """Print the event reference in Markdown, as it stands in docs/events.md.

    Example: fleetmeter schema docs > docs/events.md
    """
    text = event_reference()
    sys.stdout.write(json.dumps({"markdown": text}) + "\n" if as_json else text)


@app.command("models")
def models(as_json: Json = False) -> None:
    """List the model catalogue: sizes, tiers and generation modes that matrix units and prices rest on.

    Example: fleetmeter schema models
    """
    catalogue = load_catalogue()
    if as_json:
        print_json(catalogue.model_dump(mode="json"))
        return
    rows = [
        (m.name, m.maker, m.generation_mode, m.tier, _billions(m.parameters), _billions(m.active_parameters))
        for m in catalogue.models
    ]
    columns = ("model", "maker", "generation mode", "tier", "parameters, 10^9", "active, 10^9")
    print_table(columns, rows, title=f"Model catalogue {catalogue.version}")


def _billions(count: int | None) -> float | None:
    return None if count is None else count / 1e9


def _summary(model: type[EventData]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _find(name: str) -> type[EventData]:
    for model in EVENT_TYPES.values():
        if name in {model.TYPE, model.SHORT, model.TYPE.removeprefix("fleetmeter.")}:
            return model
    raise CommandError(f"{name!r} is not an event type; there are {', '.join(m.SHORT for m in EVENT_TYPES.values())}.")
