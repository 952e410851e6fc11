"""Derived dimensions: the band that a request falls in, decided per request, because sums per minute cannot be.

A band's label spells its interval, so that a label means the same for ever: new thresholds come with new
labels, and rollups made under the old ones stay readable and priceable.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Band(NamedTuple):
    """Intervals of one measure: label i holds values up to and including threshold i, the last label all above."""

    name: str
    of: str
    thresholds: tuple[int, ...]
    unit: int
    suffix: str
    meaning: str

    @property
    def labels(self) -> tuple[str, ...]:
        """One label an interval: `0-32k`, `32k-128k`, ..., `1m+`."""
        marks = [self._mark(t) for t in self.thresholds]
        inner = [f"{low}-{high}" for low, high in zip(["0", *marks[:-1]], marks, strict=True)]
        return (*inner, f"{marks[-1]}+")

    def label(self, value: int | None) -> str:
        """The label of a value; the empty label where the measure is absent."""
        if value is None:
            return ""
        for threshold, label in zip(self.thresholds, self.labels, strict=False):
            if value <= threshold:
                return label
        return self.labels[-1]

    def as_spec(self) -> dict[str, Any]:
        """The row of the native core's table."""
        return {"name": self.name, "of": self.of, "thresholds": list(self.thresholds), "labels": list(self.labels)}

    def _mark(self, threshold: int) -> str:
        return f"{threshold // self.unit}{self.suffix}"


CONTEXT_BAND = Band(
    "context_band",
    "input_tokens",
    (32_000, 128_000, 200_000, 272_000, 1_000_000),
    1_000,
    "k",
    "Band of input_tokens; providers reprice a whole request above such a context size.",
)
STEPS_BAND = Band(
    "steps_band",
    "denoising_steps",
    (5, 10, 20, 30, 50, 100, 200, 500, 1_000),
    1,
    "",
    "Band of denoising_steps of one request, empty where no steps are reported.",
)
