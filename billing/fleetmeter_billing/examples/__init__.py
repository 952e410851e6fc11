"""Rate cards to begin with: one for each way in which the field prices inference. They fit the simulated fleet."""

from __future__ import annotations

from importlib.resources import files


def example_names() -> list[str]:
    """The names of the examples, in alphabetical order."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in files(__name__).iterdir() if entry.name.endswith(".yaml")
    )


def example_text(name: str) -> str:
    """The YAML of an example. Raises FileNotFoundError for one that does not exist."""
    return files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
