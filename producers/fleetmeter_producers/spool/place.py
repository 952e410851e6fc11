"""Where spools lie.

<spool_dir>/<source, made a file name>-<hash>/about.json     source and topic, for whoever looks or drains
                                             /<ULID>/...      one folder for each process; see `home`
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Final

import orjson

from fleetmeter_producers.errors import ClientSettingsError
from fleetmeter_producers.ulid import new_ulid

_ABOUT: Final = "about.json"
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_LIMIT: Final = 80
_HASH_DIGITS: Final = 16


def default_spool_dir() -> Path:
    """FLEETMETER_SPOOL_DIR, or a folder in the user's state directory as the XDG base directories have it."""
    given = os.environ.get("FLEETMETER_SPOOL_DIR")
    if given:
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "fleetmeter" / "spool"


def prepare_source_folder(spool_dir: Path, source: str, topic: str) -> Path:
    """The folder for events of one source to one topic, made if need be. Raises `ClientSettingsError` if it can't be
    made or written: better while the server starts than with its first event."""
    digest = hashlib.sha256(f"{source}\0{topic}".encode()).hexdigest()[:_HASH_DIGITS]
    name = _NOT_IN_NAMES.sub("-", source).strip("-.")[-_NAME_LIMIT:]
    folder = spool_dir.expanduser().absolute() / f"{name}-{digest}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _tells(folder, source, topic):
            # Containers that share the folder may have the same process id, too.
            unfinished = folder / f".{_ABOUT}.{new_ulid()}"
            unfinished.write_bytes(orjson.dumps({"source": source, "topic": topic}))
            unfinished.replace(folder / _ABOUT)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"no permission to write in {folder}")
    except OSError as error:
        raise ClientSettingsError(
            f"spool_dir: events can't be kept in {folder}: {error}. Name a folder that this user may write with the "
            "setting spool_dir or with FLEETMETER_SPOOL_DIR; or, if events may be lost with the process, set "
            "outbox='memory'."
        ) from error
    return folder


def _tells(folder: Path, source: str, topic: str) -> bool:
    """Whether a folder says whose it is. A loss of power may have left the file empty."""
    try:
        return read_about(folder) == (source, topic)
    except (OSError, ValueError):
        return False


def read_about(folder: Path) -> tuple[str, str]:
    """(Source, topic) of a source's folder; raises OSError or ValueError if it does not tell."""
    about = orjson.loads((folder / _ABOUT).read_bytes())
    try:
        return str(about["source"]), str(about["topic"])
    except (TypeError, KeyError) as error:
        raise ValueError(f"{folder / _ABOUT} does not name source and topic") from error
