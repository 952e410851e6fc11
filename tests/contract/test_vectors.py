"""The hand-written vectors, on the reference and on the native core."""

import pytest
from contract_vectors import VECTORS
from contract_vectors.vector import Vector
from fleetmeter_reference.aggregator import Reference
from native_aggregator import NativeAggregator
from vector_check import check_vector

# What runs here is the reference and the native core; the tests of the schemas show what of them is covered.
pytestmark = pytest.mark.no_cover


def test_names_are_unique() -> None:
    names = [vector.name for vector in VECTORS]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_reference(vector: Vector) -> None:
    check_vector(vector, Reference(vector.limits))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_native(vector: Vector) -> None:
    check_vector(vector, NativeAggregator(vector.limits))
