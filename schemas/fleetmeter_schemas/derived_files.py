"""The files of this repository that follow from the declarations. `python -m fleetmeter_schemas` writes them.

They are kept in the repository for people and for producers in other languages; a test fails when one is out of date.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from fleetmeter_schemas.documentation import event_reference
from fleetmeter_schemas.events import EVENT_TYPES
from fleetmeter_schemas.json_schema import json_schema

JSON_SCHEMAS = PurePosixPath("schemas/fleetmeter_schemas/json")
EVENT_REFERENCE = PurePosixPath("docs/events.md")


def derived_files() -> dict[PurePosixPath, str]:
    """What each derived file must hold, by its path from the repository's root."""
    files = {
        JSON_SCHEMAS / f"{model.TYPE}.schema.json": json.dumps(json_schema(model), indent=2, ensure_ascii=False) + "\n"
        for model in EVENT_TYPES.values()
    }
    files[EVENT_REFERENCE] = event_reference()
    return files
