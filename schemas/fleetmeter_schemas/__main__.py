"""Writes the files that follow from the declarations: `python -m fleetmeter_schemas [ROOT]`.

ROOT is the root of the repository, the current folder by default.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fleetmeter_schemas.derived_files import derived_files


def main(arguments: list[str]) -> int:
    """Write each derived file that is out of date, and name it; the exit code."""
    root = Path(arguments[0] if arguments else ".")
    if not (root / "schemas" / "fleetmeter_schemas").is_dir():
        sys.stderr.write(f"{root.resolve()} is not the root of the fleetmeter repository; name it as the argument\n")
        return 2
    for path, text in derived_files().items():
        file = root / path
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
