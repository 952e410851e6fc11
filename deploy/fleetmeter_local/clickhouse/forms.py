"""Requests whose statement and parameters come as the fields of a form (multipart/form-data).

clickhouse-connect sends them so once the parameters are too long for a URL. Files in a form are external tables, which
the embedded engine does not have.
"""

from __future__ import annotations

from typing import Final

from aiohttp import BodyPartReader, web

from fleetmeter_local.clickhouse.answers import ClickHouseError

FIELD_LIMIT_BYTES: Final = 128 << 10
"""Longest value of a field: the server's default of `http_max_field_value_size`."""


async def read_form(request: web.Request) -> list[tuple[str, str]]:
    """Names and values of the form's fields, in order.

    Raises ClickHouseError: 48 for a file, 1000 for a value that is too long, or a form that is not whole.
    """
    found = []
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader) or part.filename is not None:
                raise ClickHouseError(
                    48, "NOT_IMPLEMENTED", "External tables are not supported by the embedded ClickHouse."
                )
            found.append((part.name or "", await _value(part)))
    except ValueError as error:
        raise ClickHouseError(1000, "POCO_EXCEPTION", f"The form can't be read: {error}.") from error
    return found


async def _value(part: BodyPartReader) -> str:
    value = b""
    while piece := await part.read_chunk():
        value += piece
        if len(value) > FIELD_LIMIT_BYTES:
            raise ClickHouseError(
                1000,
                "POCO_EXCEPTION",
                f"HTML Form Exception: Field value too long: {part.name} has more than {FIELD_LIMIT_BYTES} bytes.",
            )
    return value.decode(errors="surrogateescape")
