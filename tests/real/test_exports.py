"""Every export is read by its real consumer, and where that renders our prompt, its tokens and labels are ours.

The consumers pin libraries against each other, so each has an environment of its own (export-requirements.txt) and this
file is run in each: what is not installed there is skipped.
"""

import importlib.machinery
import json
import os
import sys
import types
from types import SimpleNamespace

import pytest
from exports import IGNORED, NANO, harvested, need, our_tokens, rows_of, run

pytestmark = pytest.mark.real
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here is fetched


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return harvested(tmp_path_factory.mktemp("agent"))


@pytest.fixture(scope="module")
def export(home, tmp_path_factory):
    """Export for a consumer; returns the folder."""

    def made(name):
        folder = tmp_path_factory.mktemp("exports") / name
        document = run(home, "dataset", "export", "--for", name, "--out", folder)
        assert document["rows"]["train"] > 0
        return folder

    return made


def nano_tokenizer(template):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(NANO))
    tokenizer.chat_template = template.read_text(encoding="utf-8")
    return tokenizer


def test_trl(home, export, tmp_path):
    need("trl", "datasets")
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM
    from trl import ModelConfig, ScriptArguments, SFTConfig, SFTTrainer, TrlParser

    folder = export("trl")
    read = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert list(read["train"]) == rows_of(folder / "train.jsonl")
    assert list(read["validation"]) == rows_of(folder / "validation.jsonl")
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(str(NANO)),
        SFTConfig(output_dir=str(tmp_path / "out"), max_length=4096, use_cpu=True, bf16=False, report_to=[]),
        train_dataset=read["train"],
        processing_class=nano_tokenizer(folder / "chat_template.jinja"),
    )
    ours = our_tokens(home, one_answer_a_row=True)
    assert [(row["input_ids"], row["labels"]) for row in trainer.train_dataset] == ours
    parser = TrlParser((ScriptArguments, SFTConfig, ModelConfig))
    script, config, model = parser.parse_args_and_config(["--config", str(folder / "sft.yaml")])
    assert (script.dataset_name, script.dataset_test_split) == (".", "validation")
    assert (config.learning_rate, config.warmup_steps, config.completion_only_loss) == (1e-5, 0.05, True)
    assert (model.use_peft, model.lora_r, len(model.lora_target_modules)) == (True, 16, 14)


def test_mlx_lm(home, export, monkeypatch):
    need("mlx_lm")
    import yaml
    from mlx_lm.lora import CONFIG_DEFAULTS
    from mlx_lm.tuner.datasets import load_dataset

    folder = export("mlx-lm")
    monkeypatch.chdir(folder)
    config = yaml.safe_load((folder / "lora.yaml").read_text(encoding="utf-8"))
    assert not set(config) - set(CONFIG_DEFAULTS)
    args = SimpleNamespace(**CONFIG_DEFAULTS | config | {"test": True})
    train, valid, test = load_dataset(args, nano_tokenizer(folder / "chat_template.jinja"))
    for split, read in (("train", train), ("valid", valid), ("test", test)):
        made = []
        for number in range(len(read)):
            ids, learnt_from = read.process(read[number])
            made.append((ids, [IGNORED] * learnt_from + ids[learnt_from:]))
        assert made == our_tokens(home, split, one_answer_a_row=True)


def test_mlx_lm_takes_the_learning_rate_schedule_and_the_modules(export):
    need("mlx_lm")
    import mlx.core as mx
    import yaml
    from mlx_lm.tuner.utils import build_schedule, linear_to_lora_layers
    from mlx_lm.utils import load_model

    config = yaml.safe_load((export("mlx-lm") / "lora.yaml").read_text(encoding="utf-8"))
    peak = build_schedule(config["lr_schedule"])(mx.array(config["lr_schedule"]["warmup"]))
    assert float(peak) == pytest.approx(1e-5, rel=0.01)
    model, _ = load_model(NANO)
    model.freeze()
    linear_to_lora_layers(model, config["num_layers"], config["lora_parameters"])
    adapted = {name.rpartition(".")[0] for name, _ in _leaves(model.trainable_parameters())}
    assert len(adapted) == 2 * 7
    assert all(name.startswith(("model.layers.2.", "model.layers.3.")) for name in adapted)


def _leaves(tree, prefix=""):
    if not isinstance(tree, (dict, list)):
        yield prefix, tree
        return
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))


def test_axolotl(home, export, monkeypatch):
    need("axolotl")
    monkeypatch.setenv("AXOLOTL_DO_NOT_TRACK", "1")
    from axolotl.cli.config import load_cfg
    from axolotl.loaders import load_tokenizer
    from axolotl.utils.data import sft

    folder = export("axolotl")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sft, "save_preprocessed_dataset", lambda *_, **__: None)  # its cache wants a pool of processes
    config = load_cfg("axolotl.yaml", dataset_num_proc=1)
    assert (config.lora_r, config.lora_alpha, config.learning_rate) == (16, 32, 1e-5)
    assert list(config.peft_layers_to_transform) == [2, 3]
    train, valid, _, _ = sft.prepare_datasets(config, load_tokenizer(config))
    for read, split in ((train, "train"), (valid, "valid")):
        made = sorted((list(row["input_ids"]), list(row["labels"])) for row in read)
        assert made == sorted(our_tokens(home, split))


def test_llama_factory(export, monkeypatch, tmp_path):
    need("llamafactory")
    if importlib.util.find_spec("torchaudio") is None:  # imported for sounds, of which there are none here
        silent = types.ModuleType("torchaudio")
        silent.__spec__, silent.__version__ = importlib.machinery.ModuleSpec("torchaudio", None), "0"
        monkeypatch.setitem(sys.modules, "torchaudio", silent)
    monkeypatch.setenv("DISABLE_VERSION_CHECK", "1")
    import yaml
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    folder = export("llama-factory")
    monkeypatch.chdir(folder)
    given = yaml.safe_load((folder / "train.yaml").read_text(encoding="utf-8"))
    model, data, training, finetuning, _ = get_train_args({**given, "output_dir": str(tmp_path / "out")})
    assert (finetuning.lora_rank, finetuning.lora_alpha, len(finetuning.lora_target)) == (16, 32, 14)
    assert (training.learning_rate, training.warmup_ratio, data.mask_history) == (1e-5, 0.05, True)
    loaded = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
    read = get_dataset(template, model, data, training, stage="sft", **loaded)
    for split, name in (("train_dataset", "train"), ("eval_dataset", "valid")):
        wanted = [_written(row["conversations"][-1]) for row in rows_of(folder / f"{name}.jsonl")]
        learnt = [[id_ for id_ in row["labels"] if id_ != IGNORED] for row in read[split]]
        assert [loaded["tokenizer"].decode(ids) for ids in learnt] == wanted


def _written(turn):
    """Return the last turn as LLaMA-Factory's template for Llama 3 writes it."""
    if turn["from"] == "gpt":
        return turn["value"] + "<|eot_id|>"
    calls = [{"name": c["name"], "parameters": c["arguments"]} for c in json.loads(turn["value"])]
    return json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False) + "<|eot_id|>"


def test_unsloth(home, export, monkeypatch, tmp_path):
    need("unsloth", "unsloth_zoo")
    monkeypatch.setenv("UNSLOTH_FORCE_CPU", "1")
    monkeypatch.setenv("UNSLOTH_SKIP_TORCHVISION_CHECK", "1")
    import unsloth  # noqa: F401 - it wants to be first
    from datasets import load_dataset
    from unsloth_zoo.dataset_utils import sft_prepare_dataset

    folder = export("unsloth")
    read = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert list(read["train"]) == rows_of(folder / "train.jsonl")
    args = SimpleNamespace(max_length=4096, dataset_num_proc=1, completion_only_loss=True)
    trainer = SimpleNamespace(model=None, args=args, data_collator=None, completion_only_loss=True)
    tokenizer = nano_tokenizer(folder / "chat_template.jinja")
    made = sft_prepare_dataset(trainer, read["train"], tokenizer, args, False, None, "train")
    assert [(row["input_ids"], row["labels"]) for row in made] == our_tokens(home, one_answer_a_row=True)


def test_openai(export):
    need("openai", "pydantic")
    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
    from pydantic import TypeAdapter

    message_type, tool_type = TypeAdapter(ChatCompletionMessageParam), TypeAdapter(ChatCompletionToolParam)
    folder = export("openai")
    for name in ("train.jsonl", "valid.jsonl"):
        rows = rows_of(folder / name)
        assert len(rows) >= 10
        for row in rows:
            assert not set(row) - {"messages", "tools"}
            for message in row["messages"]:
                if message["role"] == "assistant":
                    assert message.pop("weight") in (0, 1)  # the one key of fine-tuning that chat has not
                assert _plain(message_type.validate_python(message, strict=True)) == message
            assert row["messages"][-1]["role"] == "assistant"
            for tool in row["tools"]:
                assert _plain(tool_type.validate_python(tool, strict=True)) == tool


def _plain(value):
    """Return what a validator gives, its lazy lists read."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    return [_plain(item) for item in value]


def test_together(export):
    need("together")
    try:
        from together.lib.utils import check_file
    except ImportError:
        from together.lib.utils.files import check_file

    folder = export("together")
    for name in ("train.jsonl", "valid.jsonl"):
        report = check_file(folder / name)
        assert report["is_check_passed"], report["message"]
        assert report["num_samples"] == len(rows_of(folder / name))
    try:
        from together.lib.utils.files import validate_messages  # releases before 3 checked the rows here
    except ImportError:
        return
    for number, row in enumerate(rows_of(folder / "train.jsonl")):
        validate_messages(row["messages"], number)
