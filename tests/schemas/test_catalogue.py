"""The catalogue's figures are consistent with themselves and with what a transformer of that shape must have."""

import math

import fleetmeter_schemas
import pytest
from fleetmeter_schemas.catalogue import Catalogue, ModelEntry, Shape, load_catalogue
from pydantic import ValidationError

MODELS = load_catalogue().models


def _by_name(entry: ModelEntry) -> str:
    return entry.name


def test_the_models_of_the_field_are_there() -> None:
    names = {entry.name for entry in MODELS}
    assert {
        "mercury-coder-mini",
        "mercury-coder-small",
        "llada-8b-instruct",
        "dream-7b-instruct",
        "diffusiongemma-26b-a4b",
        "phi-4",
        "llama-3.2-1b",
        "llama-3.2-3b",
        "mistral-7b",
    } <= names


@pytest.mark.parametrize("entry", [entry for entry in MODELS if entry.shape], ids=_by_name)
def test_parameters_fit_the_shape(entry: ModelEntry) -> None:
    """Attention and feed-forward weights are about 12 L d^2; grouped heads, gating and vocabulary shift it."""
    assert entry.shape is not None
    assert entry.parameters is not None
    width = entry.shape.heads * entry.shape.head_size
    rough = 12 * entry.shape.layers * width**2
    assert 0.5 < entry.parameters / rough < 4


@pytest.mark.parametrize("entry", MODELS, ids=_by_name)
def test_the_tier_fits_the_name(entry: ModelEntry) -> None:
    limits = {"1b": (0, 2), "3b": (2, 5), "7b": (5, 10), "14b": (10, 20), "30b": (20, 45), "70b": (45, 110)}
    if entry.parameters is None:
        assert entry.tier == "frontier"
    else:
        low, high = limits[entry.tier]
        assert low * 1e9 < entry.parameters <= high * 1e9


@pytest.mark.parametrize("entry", MODELS, ids=_by_name)
def test_weights_take_their_bits(entry: ModelEntry) -> None:
    for quantization, bits in entry.weight_bits.items():
        size = entry.weight_bytes(quantization)
        assert size is not None
        assert entry.parameters is not None
        assert math.isclose(size * 8 / entry.parameters, bits, rel_tol=1e-6)
    assert entry.weight_bytes("no such format") is None


def test_published_speeds_and_sizes() -> None:
    catalogue = load_catalogue()
    mini, small = catalogue.find("mercury-coder-mini"), catalogue.find("mercury-coder-small")
    assert mini is not None
    assert small is not None
    assert mini.throughput is not None
    assert small.throughput is not None
    assert (mini.throughput.output_tokens_per_s, small.throughput.output_tokens_per_s) == (1109, 737)
    llada = catalogue.find("GSAI-ML/LLaDA-8B-Instruct")
    assert llada is not None
    assert llada.weight_bytes("bf16") == 16_031_162_368
    assert catalogue.find("no such model") is None


def _entry(**changes: object) -> dict[str, object]:
    return {"name": "m", "maker": "x", "generation_mode": "diffusion", "sources": ["y"], **changes}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([_entry(), _entry()], "m stands twice"),
        ([_entry(aliases=["n"]), _entry(name="n")], "n stands twice"),
        ([_entry(parameters=5, active_parameters=6)], "active_parameters must not exceed"),
        ([_entry(active_parameters=6)], "active_parameters must not exceed"),
        ([_entry(sources=[])], "sources"),
        ([_entry(generation_mode="magic")], "generation_mode"),
        ([_entry(colour="red")], "colour"),
        ([_entry(parameters=0)], "parameters"),
    ],
)
def test_an_inconsistent_catalogue_is_refused(entries: list[dict[str, object]], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Catalogue.model_validate({"version": "v", "models": entries})


def test_entries_are_frozen() -> None:
    shape = Shape(layers=1, heads=2, head_size=3)
    with pytest.raises(ValidationError):
        shape.layers = 2  # type: ignore[misc]


def test_the_package_has_the_catalogue_though_it_does_not_import_it() -> None:
    assert fleetmeter_schemas.load_catalogue is load_catalogue
    assert all(hasattr(fleetmeter_schemas, name) for name in fleetmeter_schemas.__all__)
    with pytest.raises(AttributeError, match="'fleetmeter_schemas' has no attribute 'Catalog'"):
        _ = fleetmeter_schemas.Catalog
