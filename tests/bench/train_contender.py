"""One trainer in a process of its own, for bench_train.py: `python train_contender.py SPEC.json`.

Every step is a pass over all rows, one row a forward pass, so that the order of rows matters to nobody. It prints one
line of JSON: wall and CPU seconds at the end of every step, and the largest resident memory. The peers are driven
through their own training functions with the rows' token ids; nothing here imports lunar_tune but `ours`.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    rows = json.loads(Path(spec["rows"]).read_text())
    out, told = Path(spec["out"]), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get before the answer
    out.mkdir(parents=True, exist_ok=True)
    answer = {"ours": ours, "trl": trl, "mlx_lm": mlx_lm, "judge": judge}[spec["contender"]](spec, rows, out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    told.write(json.dumps({**answer, "peak": peak}))
    told.flush()


def mark() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def ours(spec, rows, out):
    from lunar_tune.artefacts import TokenRow
    from lunar_tune.plugins import backends
    from lunar_tune.settings import TrainSettings

    settings = TrainSettings(
        base=spec["base"],
        precision=spec["precision"],
        rank=spec["rank"],
        modules=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        alpha=spec["alpha"],
        dropout=0.0,
        layers=spec["layers"],
        learning_rate=spec["rate"],
        clip=spec["clip"],
        batch=1,
        accumulation=len(rows),
        epochs=spec["steps"],
        warmup=0.0,
        evaluate_every=10**6,
        save_every=10**6,
        threads=1,
        **spec["options"],
    )
    marks = []

    def watch(event):
        if event.kind == "step":
            marks.append(mark())

    data = [TokenRow(f"row-{i}", tuple(row["ids"]), tuple(row["mask"])) for i, row in enumerate(rows)]
    backends()[spec["backend"]]().train(Path(spec["base"]), data, [], settings, out, watch)
    return {"marks": marks, "adapter": str(out / "adapter")}


def trl(spec, rows, out):
    import torch
    from datasets import Dataset
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(1)
    marks = []

    class Watch(TrainerCallback):
        def on_step_end(self, *_, **__):
            marks.append(mark())

    masked = [[i if m else -100 for i, m in zip(row["ids"], row["mask"], strict=True)] for row in rows]
    data = Dataset.from_dict({"input_ids": [row["ids"] for row in rows], "labels": masked})
    config = SFTConfig(
        output_dir=str(out),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=len(rows),
        num_train_epochs=spec["steps"],
        learning_rate=spec["rate"],
        lr_scheduler_type="cosine",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=spec["clip"],
        max_length=spec["window"],
        optim="adamw_torch_fused",
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        eval_strategy="no",
        logging_steps=1000,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **spec["options"],
    )
    model = AutoModelForCausalLM.from_pretrained(spec["base"], dtype=getattr(torch, spec["precision"]))
    model = PeftModel.from_pretrained(model, spec["init"], is_trainable=True)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=spec["tokenizer"], eos_token=spec["end"], pad_token=spec["end"])
    SFTTrainer(model, config, train_dataset=data, processing_class=tokenizer, callbacks=[Watch()]).train()
    model.save_pretrained(out / "adapter")
    return {"marks": marks, "adapter": str(out / "adapter")}


def mlx_lm(spec, rows, out):
    import ctypes
    from importlib.util import find_spec
    from types import SimpleNamespace

    if sys.platform == "linux":  # as our trainer does by itself: MLX's Linux wheel has a slow BLAS, PyTorch a fast one
        ctypes.CDLL(str(Path(find_spec("torch").origin).parent / "lib" / "libtorch_cpu.so"), mode=ctypes.RTLD_GLOBAL)
    import mlx.core as mx
    import numpy as np
    from mlx_lm.lora import CONFIG_DEFAULTS, train_model
    from mlx_lm.tuner.callbacks import TrainingCallback
    from mlx_lm.utils import load_model
    from safetensors.numpy import load_file, save_file

    marks = []

    class Watch(TrainingCallback):
        def on_train_loss_report(self, _):
            marks.append(mark())

    class Rows(list):
        def process(self, row):
            return row["ids"], row["mask"].index(1)  # what --mask-prompt gives it: the length of the prompt

    start = load_file(Path(spec["init"]) / "adapter_model.safetensors")
    first = {peers_name(name): np.ascontiguousarray(value.T) for name, value in start.items()}
    save_file(first, out / "start.safetensors")
    args = SimpleNamespace(
        **{
            **CONFIG_DEFAULTS,
            "model": spec["base"],
            "train": True,
            "optimizer": "adamw",
            "optimizer_config": {"adamw": {"weight_decay": 0.0, "bias_correction": True}},
            "num_layers": spec["layers"] or -1,
            "batch_size": 1,
            "iters": spec["steps"] * len(rows),
            "grad_accumulation_steps": len(rows),
            "learning_rate": spec["rate"],
            "lr_schedule": {"name": "cosine_decay", "arguments": [spec["rate"], spec["steps"]]},
            "steps_per_report": len(rows),
            "steps_per_eval": 10**6,
            "save_every": 10**6,
            "mask_prompt": True,
            "max_seq_length": spec["window"],
            "lora_parameters": {"rank": spec["rank"], "dropout": 0.0, "scale": spec["alpha"] / spec["rank"]},
            "resume_adapter_file": str(out / "start.safetensors"),
            "adapter_path": str(out),
            **spec["options"],
        }
    )
    np.random.seed(0)
    model, _ = load_model(Path(spec["base"]))
    model.set_dtype(getattr(mx, spec["precision"]))
    train_model(args, model, Rows(rows), Rows(), Watch())
    trained = load_file(out / "adapters.safetensors")
    (out / "adapter").mkdir()
    back = {name: np.ascontiguousarray(trained[peers_name(name)].T) for name in start}
    save_file(back, out / "adapter" / "adapter_model.safetensors", metadata={"format": "pt"})
    config = (Path(spec["init"]) / "adapter_config.json").read_bytes()
    (out / "adapter" / "adapter_config.json").write_bytes(config)
    return {"marks": marks, "adapter": str(out / "adapter")}


def peers_name(name: str) -> str:
    side = "lora_a" if ".lora_A." in name else "lora_b"
    return f"{name.removeprefix('base_model.model.').rsplit('.lora_', 1)[0]}.{side}"


def judge(spec, rows, out):
    """Return the mean NLL of the supervised tokens under each adapter, by transformers and PEFT alone."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    losses = []
    for adapter in spec["adapters"]:
        model = AutoModelForCausalLM.from_pretrained(spec["base"], dtype=getattr(torch, spec["precision"]))
        model = PeftModel.from_pretrained(model, adapter).eval()
        total = count = 0
        for row in rows:
            ids, places = torch.tensor(row["ids"]), [i for i, on in enumerate(row["mask"]) if on]
            with torch.inference_mode():
                hidden = model.base_model.model.model(input_ids=ids[None]).last_hidden_state[0]
                logits = model.base_model.model.lm_head(hidden[[i - 1 for i in places]]).float()
                total += torch.nn.functional.cross_entropy(logits, ids[places], reduction="sum").item()
            count += len(places)
        losses.append(total / count)
    return {"losses": losses}


if __name__ == "__main__":
    main()
