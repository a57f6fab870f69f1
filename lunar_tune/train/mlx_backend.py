"""Training with MLX: mlx-lm's model class and LoRA layers, MLX's AdamW with bias correction, in the loop of `loop.py`.

It reads the same folder and the same tokens in the same order as the PyTorch trainer, and hands over the same layout.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lunar_tune.artefacts import Adapter, TokenRow
from lunar_tune.bases import packing_of, require_reader
from lunar_tune.errors import BaseMissing, TrainingError
from lunar_tune.seams import OnEvent
from lunar_tune.settings import TrainSettings
from lunar_tune.train.adapter import Arrays, Shapes, adapted_layers, adapted_modules, tensor_name
from lunar_tune.train.engine import BETAS, DRIFT_ROWS, EPSILON
from lunar_tune.train.loop import Job, run
from lunar_tune.train.memory import peak_of_process
from lunar_tune.train.mlx_head import answers_narrowly, head_loss, last_states
from lunar_tune.train.packing import Batch, Segment
from lunar_tune.train.recompute import recompute_mlx
from lunar_tune.train.settle import settled

GROUPS = (64, 32)  # group sizes of MLX's packed formats, the usual one first


class MlxBackend:
    """The MLX trainer."""

    name = "mlx"

    def train(
        self,
        base: Path,
        train: Sequence[TokenRow],
        valid: Sequence[TokenRow],
        settings: TrainSettings,
        work: Path,
        on_event: OnEvent,
    ) -> Adapter:
        """Train from `base`, resuming from the newest checkpoint in `work/checkpoints` if there is one.

        `settings.threads` has no effect: MLX divides its own work.

        Raises:
            BaseMissing, TrainingError, DiskFull.
        """
        return run(Job(self.name, base, train, valid, settings, work), lambda: MlxEngine(base, settings), on_event)


class MlxEngine:
    """A base with mlx-lm's LoRA layers; see `engine.Engine`. MLX's lora_a is A', its lora_b is B'."""

    def __init__(self, base: Path, settings: TrainSettings) -> None:
        _find_fast_blas()
        import mlx.core as mx
        import mlx.nn as nn
        import mlx.optimizers as optimizers

        settings = settled(settings)
        self.mx: Any = mx
        if mx.metal.is_available():  # as mlx-lm's trainer does: keeps the weights resident
            self.mx.set_wired_limit(mx.device_info()["max_recommended_working_set_size"])
        self.model = load_base(base, settings)
        self.lora = _add_adapters(self.model, settings)
        if settings.checkpointing == "on":
            layers = self.model.layers
            recompute_mlx([layers[index] for index in adapted_layers(len(layers), settings)], _Past)
        self.narrow = answers_narrowly(self.model)
        self.differentiate = nn.value_and_grad(self.model, self._loss)
        # without bias correction, MLX's default, the first steps are many times larger than torch's
        self.optimizer = optimizers.AdamW(
            learning_rate=settings.learning_rate,
            betas=list(BETAS),
            eps=EPSILON,
            weight_decay=settings.weight_decay,
            bias_correction=True,
        )
        self.gradient: Any = None

    def shapes(self) -> Shapes:
        """Return (out, in) of every adapted module."""
        return {name: (module.lora_b.shape[1], module.lora_a.shape[0]) for name, module in self.lora.items()}

    def load(self, weights: Arrays, moments: Arrays, step: int) -> None:
        """Set the adapter and AdamW as they were after `step` updates."""
        mx = self.mx
        for name, module in self.lora.items():
            module.lora_a = _turned(mx, weights[tensor_name(name, "A")])
            module.lora_b = _turned(mx, weights[tensor_name(name, "B")])
        self.optimizer.init(self.model.trainable_parameters())
        self.optimizer.state["step"] = mx.array(step, dtype=mx.uint64)
        for key, kind in (("m", "m"), ("v", "v")) if moments else ():
            for name in self.lora:
                state = _at(self.optimizer.state, name)
                state["lora_a"][kind] = _turned(mx, moments[f"{key}.{tensor_name(name, 'A')}"])
                state["lora_b"][kind] = _turned(mx, moments[f"{key}.{tensor_name(name, 'B')}"])
        mx.eval(self.model.trainable_parameters(), self.optimizer.state)

    def weights(self) -> Arrays:
        """Return the adapter."""
        return {
            tensor_name(name, side): np.array(value, dtype=np.float32).T
            for name, module in self.lora.items()
            for side, value in (("A", module.lora_a), ("B", module.lora_b))
        }

    def moments(self) -> Arrays:
        """Return AdamW's moments."""
        return {
            f"{kind}.{tensor_name(name, side)}": np.array(_at(self.optimizer.state, name)[key][kind]).T
            for name in self.lora
            for side, key in (("A", "lora_a"), ("B", "lora_b"))
            for kind in "mv"
        }

    def accumulate(self, batch: Batch, divisor: int, seed: int) -> float:
        """Add a forward pass's gradient; return its sum of NLLs."""
        from mlx.utils import tree_map

        mx = self.mx
        self.model.train()
        mx.random.seed(seed)
        nll, gradient = self.differentiate(batch)
        gradient = tree_map(lambda g: g / divisor, gradient)
        if self.gradient is not None:
            gradient = tree_map(lambda old, new: old + new, self.gradient, gradient)
        self.gradient = gradient
        mx.eval(nll, gradient)
        return float(nll.item())

    def norm(self) -> float:
        """Return the norm of the accumulated gradient."""
        from mlx.utils import tree_flatten

        squares = [self.mx.sum(self.mx.square(value)) for _, value in tree_flatten(self.gradient)]
        return float(self.mx.sqrt(sum(squares)).item())

    def update(self, learning_rate: float, scale: float) -> None:
        """Do one AdamW update."""
        from mlx.utils import tree_map

        gradient = self.gradient if scale >= 1.0 else tree_map(lambda g: g * scale, self.gradient)
        self.optimizer.learning_rate = learning_rate
        self.optimizer.update(self.model, gradient)
        self.gradient = None
        self.mx.eval(self.model.trainable_parameters(), self.optimizer.state)

    def nll(self, batch: Batch) -> float:
        """Return the sum of NLLs without dropout."""
        self.model.eval()
        return float(self._loss(batch).item())

    def base_states(self, batch: Batch) -> Any:
        """Return the base's last hidden states at the batch's positions: an adapter whose B is zero adds nothing."""
        kept = {name: module.lora_b for name, module in self.lora.items()}
        self.model.eval()
        try:
            for module in self.lora.values():
                module.lora_b = self.mx.zeros_like(module.lora_b)
            states = self._hidden(batch)
            self.mx.eval(states)
            return states
        finally:
            for name, module in self.lora.items():
                module.lora_b = kept[name]

    def drift(self, batch: Batch, base_states: Any) -> float:
        """Return the sum over the batch's positions of KL(base || tuned)."""
        self.model.eval()
        tuned, total = self._hidden(batch), 0.0
        for start in range(0, len(tuned), DRIFT_ROWS):
            of_base, of_tuned = (
                logits - self.mx.logsumexp(logits, axis=-1, keepdims=True)
                for logits in (self._logits(states[start : start + DRIFT_ROWS]) for states in (base_states, tuned))
            )
            total += float((self.mx.exp(of_base) * (of_base - of_tuned)).sum().item())
        return total

    def memory(self) -> int:
        """Return the peak memory in bytes."""
        return int(self.mx.get_peak_memory()) if self.mx.metal.is_available() else peak_of_process()

    def _loss(self, batch: Batch) -> Any:
        """Return the sum of NLLs; the head sees the wanted positions alone."""
        return head_loss(self._logits, self._hidden(batch), self.mx.array(batch.targets))

    def _logits(self, hidden: Any) -> Any:
        """Return the float32 logits [positions, vocabulary] of hidden states."""
        tied = "lm_head" not in self.model
        logits = self.model.model.embed_tokens.as_linear(hidden) if tied else self.model.lm_head(hidden)
        return logits.astype(self.mx.float32)

    def _hidden(self, batch: Batch) -> Any:
        """Return the last hidden states [positions, width] at the batch's positions.

        The segments that go on from one root are the rows of one call, padded on the right: nothing attends to padding.
        """
        found = []
        roots = {segment.root for segment in batch.segments if segment.before}
        for segment in batch.segments:
            if segment.before:
                continue
            root, past = (segment.start, segment.end), [_Past() for _ in self.model.layers]
            if root not in roots:
                found.append(([segment], self._answers(batch, [segment], past)))
                continue
            # what is said of the root is read by nothing, and not computed: MLX is lazy
            self.model.model(self.mx.array(batch.ids[None, slice(*root)]), cache=past)
            grown = [branch for branch in batch.segments if branch.before and branch.root == root]
            found.append((grown, self._answers(batch, grown, [layer.again() for layer in past])))
        return self._in_order(batch, found)

    def _answers(self, batch: Batch, segments: list[Segment], past: list[_Past]) -> Any:
        """Return the last hidden states [segments, most wanted in one, width] at the wanted positions of each."""
        ids = np.zeros((len(segments), max(segment.end - segment.start for segment in segments)), dtype=np.int64)
        wanted = [batch.positions[_within(batch, segment)] - segment.start for segment in segments]
        index = np.zeros((len(segments), max(map(len, wanted))), dtype=np.int64)
        for row, (segment, places) in enumerate(zip(segments, wanted, strict=True)):
            ids[row, : segment.end - segment.start] = batch.ids[segment.start : segment.end]
            index[row, : len(places)] = places
        if self.narrow:
            return last_states(self.model, self.mx.array(ids), past, self.mx.array(index))
        states = self.model.model(self.mx.array(ids), cache=past)
        return self.mx.take_along_axis(states, self.mx.array(index)[..., None], axis=1)

    def _in_order(self, batch: Batch, found: list[tuple[list[Segment], Any]]) -> Any:
        """Return the states of all segments in the order of the batch's positions."""
        place = np.zeros(len(batch.positions), dtype=np.int64)
        offset = 0
        for segments, states in found:
            for row, segment in enumerate(segments):
                within, begin = _within(batch, segment), offset + row * states.shape[1]
                place[within] = np.arange(begin, begin + within.stop - within.start)
            offset += states.shape[0] * states.shape[1]
        return self.mx.concatenate([s.reshape(-1, s.shape[-1]) for _, s in found])[self.mx.array(place)]


def _within(batch: Batch, segment: Segment) -> slice:
    """Return which of the batch's positions lie in a segment."""
    return slice(*np.searchsorted(batch.positions, [segment.start, segment.end]).tolist())


class _Past:
    """The keys and values of a root in one layer, in the shape of mlx-lm's caches; gradients go through it."""

    def __init__(self, keys: Any = None, values: Any = None) -> None:
        self.begun, self.kept = (keys, values), (keys, values)
        self.offset = 0 if keys is None else keys.shape[2]

    def again(self) -> _Past:
        """Return a past to go on from, for any number of rows."""
        return _Past(*self.kept)

    def update_and_fetch(self, keys: Any, values: Any) -> tuple[Any, Any]:
        """Return all keys and values [rows, heads, tokens, width] that the new ones may see."""
        import mlx.core as mx

        if self.offset:
            keys, values = (
                mx.concatenate([mx.broadcast_to(old, (new.shape[0], *old.shape[1:])), new], axis=2)
                for old, new in zip(self.begun, (keys, values), strict=True)
            )
        self.kept = (keys, values)
        return keys, values

    def make_mask(self, count: int, return_array: bool = False, window_size: int | None = None) -> Any:
        """Return the mask of `count` new tokens causal and aligned at the end, as mlx-lm's is."""
        from mlx_lm.models.base import create_causal_mask

        if return_array or (window_size and self.offset + count > window_size):
            return create_causal_mask(count, self.offset, window_size=window_size)
        return "causal"


def _find_fast_blas() -> None:
    """On Linux, let MLX's CPU device multiply matrices with PyTorch's BLAS, where PyTorch is installed.

    MLX's Linux wheel carries the reference BLAS: 1.2 GFLOPS a core, where PyTorch's library gives 65 on the same
    machine. Both export Fortran's `sgemm_`; the library loaded first, with global names, is the one MLX finds.
    """
    torch = find_spec("torch") if sys.platform == "linux" and "mlx.core" not in sys.modules else None
    library = Path(torch.origin).parent / "lib" / "libtorch_cpu.so" if torch and torch.origin else None
    if library and library.is_file():
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def load_base(base: Path, settings: TrainSettings) -> Any:
    """Return mlx-lm's model of a folder, frozen; linear layers in 4 or 8 bits when asked for.

    Raises:
        BaseMissing: mlx-lm has no such architecture, or the weights do not fit it.
    """
    import mlx.core as mx
    from mlx_lm.utils import load_model

    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        if (packing := packing_of(config)) is not None:
            require_reader(base.name, packing, "mlx")
        model, _ = load_model(base, model_config=_rope(config))
    except (OSError, ValueError, KeyError) as error:
        raise BaseMissing(str(base), f"mlx-lm cannot load it ({error})") from error
    model.set_dtype(getattr(mx, settings.precision))
    if settings.quantize_base != "none":
        _quantize(model, 4 if settings.quantize_base == "4bit" else 8)
    model.freeze()
    return model


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """Return the older names of a config's rope settings.

    transformers 5 writes them nested as `rope_parameters`, which mlx-lm's Llama class ignores in silence.
    """
    nested = config.get("rope_parameters")
    if not isinstance(nested, dict) or "rope_theta" not in nested:
        return {}
    scaling = None if nested.get("rope_type", "default") == "default" else nested
    return {"rope_theta": nested["rope_theta"], "rope_scaling": scaling}


def _quantize(model: Any, bits: int) -> None:
    """Quantize the linear layers of the decoder, as QLoRA does; embeddings and head stay whole."""
    import mlx.nn as nn

    def wanted(path: str, module: Any) -> bool | dict[str, Any]:
        if not isinstance(module, nn.Linear) or not path.startswith("model.layers."):
            return False
        group = next((size for size in GROUPS if module.weight.shape[1] % size == 0), None)
        if group is None:
            raise TrainingError(
                f"{path} has {module.weight.shape[1]} inputs, which MLX's groups of weights do not divide.",
                'Use train.quantize_base = "none" with this base.',
            )
        return {"group_size": group, "bits": bits}

    nn.quantize(model, class_predicate=wanted)


def _add_adapters(model: Any, settings: TrainSettings) -> dict[str, Any]:
    """Put mlx-lm's LoRA layers into `model` in place and return them by module name."""
    from mlx_lm.tuner.lora import LoRALinear

    lora: dict[str, Any] = {}
    scale = settings.alpha / settings.rank
    for name in adapted_modules(len(model.layers), settings):
        parent_name, _, leaf = name.rpartition(".")
        parent = _at(model, parent_name)
        if leaf not in parent:
            raise TrainingError(
                f"This base has no projection {name!r}.", "train.modules must name projections of a Llama-like model."
            )
        layer = LoRALinear.from_base(parent[leaf], r=settings.rank, dropout=settings.dropout, scale=scale)
        setattr(parent, leaf, layer)
        layer.unfreeze(keys=["lora_a", "lora_b"], recurse=False)
        lora[name] = layer
    return lora


def _turned(mx: Any, values: Any) -> Any:
    """Return a transposed array, laid out in rows as updates leave it.

    Another layout takes another path through BLAS, and a resumed run would differ from an uninterrupted one in the last
    digits.
    """
    return mx.array(np.ascontiguousarray(values.T))


def _at(tree: Any, path: str) -> Any:
    for part in path.split("."):
        tree = tree[int(part)] if part.isdigit() else tree[part]
    return tree
