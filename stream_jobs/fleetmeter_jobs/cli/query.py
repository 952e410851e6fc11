"""`fleetmeter query`: the named queries, each one question that data teams ask."""

from __future__ import annotations

from typing import Annotated

import typer
from clickhouse_connect.driver.exceptions import ClickHouseError
from fleetmeter_sql.named_queries import NamedQuery, list_queries, load_query, run_query
from fleetmeter_sql.refusals import explain_refusal
from rich.text import Text

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, print_table

app = command_app()

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="The query; without one, all are listed.")]
Param = Annotated[
    list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter, such as from=now-7d.")
]
ShowSql = Annotated[bool, typer.Option("--sql", help="Print the statement instead of running it.")]


@app.command()
def query(
    name: Name = None,
    params: Param = None,
    show_sql: ShowSql = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Run one of the named queries, or list them with their parameters.

    Example: fleetmeter query steps_per_token --param from=now-1h --json
    """
    if name is None:
        _list(as_json=as_json)
        return
    asked = load_query(name)
    if show_sql:
        _print_sql(asked, as_json=as_json)
        return
    values = dict(_pair(text) for text in params or [])
    asked.bind(values)  # before anything is connected to
    settings = settings_of_stack(data_dir, setting)
    try:
        with connect(settings, database=settings.clickhouse_database) as client:
            answer = run_query(client, asked, values, database=settings.clickhouse_database)
    except ClickHouseError as error:
        raise CommandError(
            f"The query {name}: {explain_refusal(error, settings.clickhouse_url)}", Exit.CLICKHOUSE
        ) from error
    if as_json:
        print_json([dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows])
        return
    print_table(answer.column_names, answer.result_rows, title=asked.sentence)
    if not answer.result_rows:
        console.print("No rows. The span may be empty: parameters are listed by `fleetmeter query`.")


def _list(*, as_json: bool) -> None:
    queries = list_queries()
    if as_json:
        print_json([_as_dict(each) for each in queries])
        return
    for each in queries:
        console.print(Text(each.name, "bold"), Text(each.sentence))
        for parameter in each.parameters:
            default = "required" if parameter.default is None else f"default {parameter.default or 'empty'}"
            console.print(Text(f"    {parameter.name} ({default}): {parameter.meaning}", "dim"))


def _print_sql(asked: NamedQuery, *, as_json: bool) -> None:
    if as_json:
        print_json({**_as_dict(asked), "sql": asked.sql})
    else:
        console.print(Text(asked.sql), soft_wrap=True)


def _as_dict(asked: NamedQuery) -> dict[str, object]:
    return {
        "name": asked.name,
        "sentence": asked.sentence,
        "parameters": [
            {"name": p.name, "type": p.type, "default": p.default, "meaning": p.meaning} for p in asked.parameters
        ],
    }


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--param {text!r} is not NAME=VALUE, such as from=now-7d.")
    return name.strip(), value
