"""Does a GGUF say what its source says? Its next-token log-probabilities against the float32 fused model's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lunar_tune.artefacts import Adapter
from lunar_tune.errors import ExportError
from lunar_tune.export.reference import log_softmax, reference_logits


class LogitSource(Protocol):
    """Something that has the GGUF loaded."""

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return logits (or log-probabilities) [positions, vocabulary] after the tokens at these positions."""


@dataclass(frozen=True, slots=True)
class Verification:
    """How far a GGUF is from its source over `n` positions.

    `max_abs_logprob_difference` is in nats, over the whole vocabulary at every position. `greedy_equal` is the share of
    positions with the same best token; `widest_flip` is the source's margin, in nats, between its best token and the
    GGUF's where they differ (the largest; 0 when they never do): a small one is a tie broken the other way.
    """

    max_abs_logprob_difference: float
    greedy_equal: float
    widest_flip: float
    n: int


def verify(
    gguf: Path,
    base: Path,
    adapter: Adapter | None,
    prompts_ids: Sequence[Sequence[int]],
    scorer: LogitSource | None = None,
    *,
    strength: float = 1.0,
    tail: int = 16,
    threads: int = 0,
) -> Verification:
    """Compare a GGUF with base + strength · adapter after the last `tail` tokens of each prompt (ids with the BOS).

    `scorer` has `gguf` loaded; None loads it with llama.cpp for this call. llama.cpp's own rounding (16-bit cache and
    attention, and activations rounded as the weights are) is part of the difference: on a small trained Llama up to
    0.02 nats for F32 and 0.09 for F16, where the exact file gives 0.00003 with a float32 cache.

    Raises:
        ExportError: there is nothing to compare, or the two differ in vocabulary.
        MissingExtra, RuntimeFailure: from loading `gguf`.
    """
    if not prompts_ids or not all(prompts_ids):
        raise ExportError(f"{gguf.name!r} cannot be verified on empty prompts.", "Pass prompts of at least one token.")
    source = reference_logits(base, adapter, prompts_ids, tail=tail, strength=strength)
    if scorer is not None:
        return _compare(gguf, prompts_ids, source, scorer)
    from lunar_tune.runtimes.scoring import GgufScorer

    with GgufScorer(gguf, context=max(map(len, prompts_ids)) + 8, threads=threads) as loaded:
        return _compare(gguf, prompts_ids, source, loaded)


def _compare(gguf: Path, prompts: Sequence[Sequence[int]], source: Sequence[Any], scorer: LogitSource) -> Verification:
    largest, widest, equal, count = 0.0, 0.0, 0, 0
    for ids, expected_logits in zip(prompts, source, strict=True):
        positions = range(len(ids) - len(expected_logits), len(ids))
        found = log_softmax(np.asarray(scorer.logits(ids, list(positions)), dtype=np.float32))
        expected = log_softmax(expected_logits)
        if found.shape != expected.shape:
            raise ExportError(
                f"{gguf.name!r} gives {found.shape[-1]} probabilities a token, its source {expected.shape[-1]}.",
                "Export again from this base.",
            )
        difference = float(np.abs(found - expected).max())
        largest = difference if difference > largest or difference != difference else largest  # a NaN must show
        rows = np.arange(len(expected))
        flips = expected[rows, expected.argmax(-1)] - expected[rows, found.argmax(-1)]
        equal += int((flips == 0).sum())
        widest = max(widest, float(flips.max()))
        count += len(expected)
    return Verification(largest, equal / count, widest, count)
