"""A small real transformer in numpy that counts the multiply-adds of its matrix products, as they happen.

Pre-norm blocks of attention and a two-layer perceptron, no biases, an embedding and an output matrix of its own. Keys
and values of other positions may come from a cache. It knows nothing of any formula: each product is done, and counted
from the shapes of its operands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Cache = list[tuple[Array, Array]]
"""Keys and values by layer, each (heads, positions, head size)."""

MASK = 0
"""The token that stands for a position that is not decided."""


def _normalised(x: Array) -> Array:
    return np.asarray((x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6))


@dataclass
class TinyTransformer:
    """`multiply_adds` grows with each product. `multiplied_weights` are the parameters that products use: the embedding
    is looked up, not multiplied. Has torch's `register_forward_hook`."""

    layers: int = 2
    heads: int = 3
    head_size: int = 5
    perceptron: int = 23
    vocabulary: int = 17
    positions: int = 80
    seed: int = 1
    multiply_adds: int = 0
    calls: int = 0
    _hooks: dict[int, Callable[..., Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        draw, width = np.random.default_rng(self.seed), self.heads * self.head_size

        def matrix(rows: int, columns: int) -> Array:
            return np.asarray(draw.normal(0, rows**-0.5, (rows, columns)))

        self._embedding = draw.normal(0, 1, (self.vocabulary, width))
        self._place = draw.normal(0, 1, (self.positions, width))
        self._layers = [
            {name: matrix(width, width) for name in ("query", "key", "value", "joined")}
            | {"up": matrix(width, self.perceptron), "down": matrix(self.perceptron, width)}
            for _ in range(self.layers)
        ]
        self._output = 2 * matrix(width, self.vocabulary)  # a model that is sure of some things
        self.multiplied_weights = self._output.size + sum(
            weights.size for layer in self._layers for weights in layer.values()
        )

    def register_forward_hook(self, hook: Callable[..., Any], *, with_kwargs: bool = False) -> TinyTransformer.Handle:
        """As torch.nn.Module has it."""
        assert with_kwargs, "only hooks that take keyword arguments are supported here"
        handle = self.Handle(self._hooks)
        self._hooks[id(handle)] = hook
        return handle

    class Handle:
        """What removes a hook."""

        def __init__(self, hooks: dict[int, Callable[..., Any]]) -> None:
            self._hooks = hooks

        def remove(self) -> None:
            del self._hooks[id(self)]

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Array, Cache]:
        output = self.forward(*args, **kwargs)
        for hook in list(self._hooks.values()):
            hook(self, args, kwargs, output)
        return output

    def forward(
        self, tokens: list[int], start: int = 0, cache: Cache | None = None, *, after: int = 0, causal: bool = False
    ) -> tuple[Array, Cache]:
        """(Logits of the tokens, keys and values of everything).

        The tokens lie at `start`; `cache` has what lies before them, and, at its end, `after` positions behind them.
        Each attends to all, or, with `causal`, to what is not behind it (as a mask, so that all products are done).
        """
        self.calls += 1
        x = self._embedding[tokens] + self._place[start : start + len(tokens)]
        filled: Cache = []
        for number, weights in enumerate(self._layers):
            inner = _normalised(x)
            query, key, value = (self._heads(self._times(inner, weights[name])) for name in ("query", "key", "value"))
            if cache is not None:
                old_key, old_value = cache[number]
                split = old_key.shape[1] - after
                key = np.concatenate([old_key[:, :split], key, old_key[:, split:]], axis=1)
                value = np.concatenate([old_value[:, :split], value, old_value[:, split:]], axis=1)
            filled.append((key, value))
            scores = self._times(query, key.transpose(0, 2, 1)) / self.head_size**0.5
            if causal:
                place = np.arange(start, start + len(tokens))
                scores = np.where(np.arange(key.shape[1]) <= place[:, None], scores, -np.inf)
            share = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = self._times(share / share.sum(-1, keepdims=True), value)
            x = x + self._times(mixed.transpose(1, 0, 2).reshape(len(tokens), -1), weights["joined"])
            x = x + self._times(np.maximum(self._times(_normalised(x), weights["up"]), 0), weights["down"])
        return self._times(_normalised(x), self._output), filled

    def _heads(self, x: Array) -> Array:
        return x.reshape(len(x), self.heads, self.head_size).transpose(1, 0, 2)

    def _times(self, a: Array, b: Array) -> Array:
        batch = a.shape[0] if a.ndim == 3 else 1
        self.multiply_adds += batch * a.shape[-2] * a.shape[-1] * b.shape[-1]
        return np.asarray(a @ b)


def cut(cache: Cache, begin: int, end: int | None = None) -> Cache:
    """A cache without the positions from `begin` to before `end` (or the last)."""
    return [
        (
            np.concatenate([key[:, :begin], key[:, end:] if end is not None else key[:, :0]], axis=1),
            np.concatenate([value[:, :begin], value[:, end:] if end is not None else value[:, :0]], axis=1),
        )
        for key, value in cache
    ]


def settle(tokens: list[int], begin: int, end: int, logits: Array, *, threshold: float) -> int:
    """Decide the masked positions from `begin` to before `end` that the model is sure of; at least the surest one.

    `logits` are those of exactly these positions. Returns how many were decided.
    """
    masked = [place for place in range(begin, end) if tokens[place] == MASK]
    if not masked:
        return 0
    share = np.exp(logits - logits.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    share[:, MASK] = 0  # it never decides for the mask
    surest = max(masked, key=lambda place: float(share[place - begin].max()))
    decided = [place for place in masked if share[place - begin].max() > threshold or place == surest]
    for place in decided:
        tokens[place] = int(share[place - begin].argmax())
    return len(decided)
