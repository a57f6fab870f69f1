"""What a backend supplies to the loop: gradients, updates and weights, in NumPy at the border."""

from __future__ import annotations

from typing import Any, Protocol

from lunar_tune.train.adapter import Arrays, Shapes
from lunar_tune.train.packing import Batch

BETAS = (0.9, 0.999)
DRIFT_ROWS = 32  # positions whose distance is measured at a time: it takes three times their logits
EPSILON = 1e-8  # with BETAS, the defaults of torch.optim.AdamW


class Engine(Protocol):
    """A base with adapters on it, and AdamW. Tensor names are PEFT's; A is [rank, in], B [out, rank], float32."""

    def shapes(self) -> Shapes:
        """Return (out, in) of every adapted module."""

    def load(self, weights: Arrays, moments: Arrays, step: int) -> None:
        """Set the adapter; `moments` (empty at the start) and `step` are those after `step` updates."""

    def weights(self) -> Arrays:
        """Return the adapter."""

    def moments(self) -> Arrays:
        """Return AdamW's moments, `m.` and `v.` before each tensor's name."""

    def accumulate(self, batch: Batch, divisor: int, seed: int) -> float:
        """Add the gradient of (sum of token NLLs / `divisor`), dropout drawn from `seed`; return the sum in nats."""

    def norm(self) -> float:
        """Return the global 2-norm of the accumulated gradient."""

    def update(self, learning_rate: float, scale: float) -> None:
        """Do one AdamW update with the gradient times `scale` (clipping), and forget the gradient."""

    def nll(self, batch: Batch) -> float:
        """Return the sum of token NLLs in nats, without dropout and gradients."""

    def base_states(self, batch: Batch) -> Any:
        """Return the base's own last hidden states at the batch's positions, for `drift`."""

    def drift(self, batch: Batch, base_states: Any) -> float:
        """Return the sum over the batch's positions of KL(base || tuned) in nats, without dropout and gradients."""

    def memory(self) -> int:
        """Return the peak memory in bytes: of the accelerator where there is one, else of the process."""
