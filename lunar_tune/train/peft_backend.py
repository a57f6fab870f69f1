"""Training with PyTorch: transformers' model, PEFT's adapters, torch's AdamW, in the loop of `loop.py`.

Logits are computed at supervised positions only, and autograd touches nothing below the lowest adapted layer: the
embeddings are frozen, so no earlier tensor asks for a gradient. CUDA or Apple's GPU is used where torch has it.
"""

from __future__ import annotations

import contextlib
import json
import logging as python_logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lunar_tune.artefacts import Adapter, TokenRow
from lunar_tune.bases import packing_of, require_reader
from lunar_tune.errors import BaseMissing, MissingExtra, TrainingError
from lunar_tune.seams import OnEvent
from lunar_tune.settings import TrainSettings
from lunar_tune.train.adapter import Arrays, Shapes, adapted_layers, adapted_modules, tensor_name
from lunar_tune.train.engine import BETAS, DRIFT_ROWS, EPSILON
from lunar_tune.train.fast_head import head_loss
from lunar_tune.train.loop import Job, run
from lunar_tune.train.memory import give_back, peak_of_process
from lunar_tune.train.packing import Batch
from lunar_tune.train.settle import settled

if TYPE_CHECKING:
    import torch


class PeftBackend:
    """The PyTorch trainer."""

    name = "peft"

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

        Raises:
            BaseMissing, MissingExtra, TrainingError, DiskFull.
        """
        with contextlib.ExitStack() as surroundings:

            def open_engine() -> PeftEngine:  # after the loop's checks, which need no torch
                surroundings.enter_context(_torch(settings.threads))
                return PeftEngine(base, settings)

            return run(Job(self.name, base, train, valid, settings, work), open_engine, on_event)


class PeftEngine:
    """A base with PEFT adapters; see `engine.Engine`."""

    def __init__(self, base: Path, settings: TrainSettings) -> None:
        import torch

        from lunar_tune.train import torch_attention
        from lunar_tune.train.fast_lora import speed_up
        from lunar_tune.train.recompute import recompute_torch

        settings = settled(settings)
        self.torch = torch
        self.device = _device()
        self.model = _load_base(base, settings, self.device)
        self.lora = _add_adapters(self.model, settings)
        self.parameters = {name: getattr(m, f"lora_{s}")["default"].weight for name, m, s in self._sides()}
        speed_up(self.model, list(self.lora.values()), settings)
        self.narrow = torch_attention.install(self.model)
        if settings.checkpointing == "on":
            layers = self.model.model.layers
            recompute_torch([layers[index] for index in adapted_layers(len(layers), settings)])
        self.optimizer = torch.optim.AdamW(
            list(self.parameters.values()),
            lr=settings.learning_rate,
            betas=BETAS,
            eps=EPSILON,
            weight_decay=settings.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.updates = 0

    def shapes(self) -> Shapes:
        """Return (out, in) of every adapted module."""
        return {name: (module.out_features, module.in_features) for name, module in self.lora.items()}

    def load(self, weights: Arrays, moments: Arrays, step: int) -> None:
        """Set the adapter and AdamW as they were after `step` updates."""
        torch = self.torch
        self.updates = step
        for name, parameter in self.parameters.items():
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(weights[name]))
            if moments:
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(step), device=self.device if self.device.type == "cuda" else "cpu"),
                    "exp_avg": torch.from_numpy(moments[f"m.{name}"]).to(self.device),
                    "exp_avg_sq": torch.from_numpy(moments[f"v.{name}"]).to(self.device),
                }

    def weights(self) -> Arrays:
        """Return the adapter."""
        return {name: parameter.detach().float().cpu().numpy() for name, parameter in self.parameters.items()}

    def moments(self) -> Arrays:
        """Return AdamW's moments."""
        state = self.optimizer.state
        kinds = (("m", "exp_avg"), ("v", "exp_avg_sq"))
        return {f"{k}.{n}": state[p][key].float().cpu().numpy() for n, p in self.parameters.items() for k, key in kinds}

    def accumulate(self, batch: Batch, divisor: int, seed: int) -> float:
        """Add a forward pass's gradient; return its sum of NLLs."""
        self.model.train()
        self.torch.manual_seed(seed)
        hidden = self._hidden(batch)
        give_back()
        total, gradient = head_loss(hidden, self.model.lm_head, self._targets(batch), divisor)
        hidden.backward(gradient)  # type: ignore[no-untyped-call]
        give_back()
        return total

    def norm(self) -> float:
        """Return the norm of the accumulated gradient."""
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        return float(self.torch.nn.utils.get_total_norm(gradients).item())

    def update(self, learning_rate: float, scale: float) -> None:
        """Do one AdamW update."""
        if scale < 1.0:
            self.torch._foreach_mul_([p.grad for p in self.parameters.values()], scale)
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        self.updates += 1

    def nll(self, batch: Batch) -> float:
        """Return the sum of NLLs without dropout."""
        self.model.eval()
        with self.torch.inference_mode():
            return head_loss(self._hidden(batch), self.model.lm_head, self._targets(batch), None)[0]

    def base_states(self, batch: Batch) -> torch.Tensor:
        """Return the base's last hidden states at the batch's positions: an adapter whose B is zero adds nothing."""
        sides = [parameter for name, parameter in self.parameters.items() if name.endswith("lora_B.weight")]
        kept = [side.detach().clone() for side in sides]
        self.model.eval()
        try:
            with self.torch.inference_mode():
                self.torch._foreach_zero_([side.data for side in sides])
                return self._hidden(batch)
        finally:
            with self.torch.no_grad():
                self.torch._foreach_copy_([side.data for side in sides], kept)

    def drift(self, batch: Batch, base_states: torch.Tensor) -> float:
        """Return the sum over the batch's positions of KL(base || tuned)."""
        torch, total = self.torch, 0.0
        self.model.eval()
        with torch.inference_mode():
            tuned = self._hidden(batch)
            for start in range(0, len(tuned), DRIFT_ROWS):
                of_base, of_tuned = (
                    self.model.lm_head(states[start : start + DRIFT_ROWS]).float() for states in (base_states, tuned)
                )
                for logits in (of_base, of_tuned):  # in place, as two distributions over a large vocabulary are large
                    logits.sub_(logits.logsumexp(-1, keepdim=True))
                total += of_tuned.neg_().add_(of_base).mul_(of_base.exp_()).sum().item()
        return total

    def memory(self) -> int:
        """Return the peak memory in bytes."""
        if self.device.type == "cuda":
            return int(self.torch.cuda.max_memory_allocated())
        return peak_of_process()

    def _sides(self) -> Iterator[tuple[str, Any, str]]:
        for name, module in self.lora.items():
            for side in "AB":
                yield tensor_name(name, side), module, side

    def _hidden(self, batch: Batch) -> torch.Tensor:
        """Return the last hidden states [positions, width] at the batch's positions."""
        from lunar_tune.train.torch_attention import prepare

        ids, places = (self.torch.from_numpy(values)[None].to(self.device) for values in (batch.ids, batch.places))
        packed = prepare(batch, self.model.dtype, self.device)
        out = self.model.model(input_ids=ids, position_ids=places, use_cache=False, packed=packed).last_hidden_state
        states: torch.Tensor = out[0] if self.narrow else out[0, packed.wanted]
        return states

    def _targets(self, batch: Batch) -> torch.Tensor:
        return self.torch.from_numpy(batch.targets).to(self.device)


@contextlib.contextmanager
def _torch(threads: int) -> Iterator[None]:
    """Give torch so many threads (0: as many as it likes).

    Denormal numbers become zero meanwhile: attention of a sharp model is full of them, and a CPU takes twice as long.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_flush_denormal(True)
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def _device() -> torch.device:
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _load_base(base: Path, settings: TrainSettings, device: torch.device) -> Any:
    """Return the frozen base; linear layers as doubly quantized NF4 (QLoRA, arXiv 2305.14314) or as LLM.int8 (arXiv
    2208.07339) when asked for. A base that is packed already is read as it is.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.utils import logging

    dtype = getattr(torch, settings.precision)
    options: dict[str, Any] = {}
    if settings.quantize_base != "none":
        _require_bitsandbytes(device)
        four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": dtype}
        options["quantization_config"] = (
            BitsAndBytesConfig(load_in_4bit=True, **four)
            if settings.quantize_base == "4bit"
            else BitsAndBytesConfig(load_in_8bit=True)
        )
    packing = packing_of(json.loads((base / "config.json").read_text(encoding="utf-8")))
    if packing is not None:
        require_reader(base.name, packing, "peft")
        if packing.by == "bitsandbytes":
            _require_bitsandbytes(device)
    if options or packing is not None:
        options["device_map"] = {"": str(device)}
        python_logging.getLogger("bitsandbytes").setLevel(python_logging.ERROR)  # it tells every layer's every cast
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, local_files_only=True, **options)
    except (OSError, ValueError, KeyError) as error:
        raise BaseMissing(str(base), f"transformers cannot load it ({error})") from error
    model.requires_grad_(False)
    return model if options else model.to(device)


def _require_bitsandbytes(device: torch.device) -> None:
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise MissingExtra("bitsandbytes", "peft")
    if device.type == "mps":
        raise TrainingError(
            "bitsandbytes has no 4-bit and 8-bit arithmetic for Apple's GPU.",
            'Use --backend mlx, or train.quantize_base = "none".',
        )


def _add_adapters(model: Any, settings: TrainSettings) -> dict[str, Any]:
    """Put PEFT's LoRA layers into `model` in place and return them by module name."""
    from peft import LoraConfig, inject_adapter_in_model

    total = model.config.num_hidden_layers
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type,unused-ignore]
        lora_dropout=settings.dropout,
        target_modules=list(settings.modules),
        layers_to_transform=list(adapted_layers(total, settings)),
        bias="none",
        task_type="CAUSAL_LM",
    )
    inject_adapter_in_model(config, model)
    try:
        lora = {name: model.get_submodule(name) for name in adapted_modules(total, settings)}
        for module in lora.values():
            for side in (module.lora_A, module.lora_B):
                side["default"].float().requires_grad_()
    except AttributeError as error:
        raise TrainingError(
            f"This base has no projection of that name: {error}.",
            "train.modules must name projections of a Llama-like model.",
        ) from error
    return lora
