"""Hand-written vectors of the event contract: a record, and what must become of each of its events."""

from contract_vectors import arrow, attributes, labels, numbers, records, rules, syntax, texts, times
from contract_vectors.vector import Vector

VECTORS: list[Vector] = [
    *syntax.VECTORS,
    *attributes.VECTORS,
    *numbers.VECTORS,
    *texts.VECTORS,
    *times.VECTORS,
    *labels.VECTORS,
    *rules.VECTORS,
    *records.VECTORS,
    *arrow.VECTORS,
]
