"""One dataclass a stage: a field is a TOML key, a flag and a help line. All wrong settings are told at once.

Values come from `HOME/lunar.toml`, then `lunar.toml` in the current folder (or `--config`), then flags; paths in a TOML
file are relative to that file.
"""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from lunar_tune.errors import SettingsError
from lunar_tune.presets import preset_values
from lunar_tune.ranges import out_of_range
from lunar_tune.table_map import EXAMPLE, TableMap, table_maps


def _help(text: str, default: Any, *, path: bool = False, flag: bool = True, example: str = "") -> Any:
    """Return a field. One without a flag is set in TOML only, and `example` is its value there for those who look."""
    return field(default=default, metadata={"help": text, "path": path, "flag": flag, "example": example})


@dataclass(frozen=True, slots=True)
class HarvestSettings:
    """Which logs are read."""

    logs: tuple[str, ...] = _help("Log databases to read when none is named on the command line.", (), path=True)
    also: bool = _help("Allow logs of several agents in one workspace; their voices mix.", False)
    since: str | None = _help("Leave out conversations that began before this ISO date.", None)
    exclude: tuple[str, ...] = _help("Threads to leave out, by the names that `lunar-tune episodes` shows.", ())
    tools: str | None = _help(
        "A JSON list of the tools that were offered, for conversations whose log stores none.", None, path=True
    )
    table_map: tuple[TableMap, ...] = _help(
        "Databases of your own, each as [[harvest.table_map]]: which table and which column is what.",
        (),
        flag=False,
        example=EXAMPLE,
    )


@dataclass(frozen=True, slots=True)
class CurateSettings:
    """What may be learnt."""

    redact: bool = _help("Replace keys, tokens and passwords before anything is written.", True)
    names: tuple[str, ...] = _help("Names of people to replace too, whole words in any case.", ())
    min_rating: float = _help("A rating below this makes the judged turn context only.", 0.0)
    min_score: float = _help(
        "A judge's or program's score below this makes the judged turn context only; 0 asks none of them.", 0.0
    )
    doubt: float = _help(
        "How strongly, 0 to 1, the user's next words must speak against an answer to make it context only: 0.9 is an "
        'outright correction, 0.55 a request asked again, 0.4 "are you sure?", 0.3 a question back; 1 reads no words.',
        0.5,
    )
    similarity: float = _help(
        "Share of a request's content words that the next one must hold to count as the same one asked again.", 0.75
    )
    burst: int = _help("Of near-identical exchanges of one log within a day so many are learnt; 0 means all.", 5)
    skip: tuple[str, ...] = _help(
        "Checks that are not made: scaffolding (the program's own words), cutoff (text that breaks off), fleeting "
        "(answers of the day), refusals (those taken back), injections (orders in tool results).",
        (),
    )
    own_model: str = _help(
        "Turns written by a model of this name (any tag, any registry) are context only unless rated well.",
        "lunar-custom",
    )


@dataclass(frozen=True, slots=True)
class DatasetSettings:
    """How rows are split and how long they may be."""

    window: int = _help(
        "Longest row in tokens; longer conversations are split at turn boundaries or dropped, counted.", 4096
    )
    valid: float = _help("Share of conversation groups for validation.", 0.1)
    test: float = _help("Share of conversation groups, the newest, held out for judging.", 0.2)
    near_duplicate: float = _help(
        "Rows are near-duplicates, and never apart in train and test, from this weighed Jaccard index of their words.",
        0.5,
    )
    boilerplate: int = _help(
        "A sequence of 13 words in more unrelated groups than this is a standing phrase, and no leak.", 10
    )
    largest_group: float = _help("A group with more than this share of all rows is never held out.", 0.25)
    near_identical: int = _help("Most near-duplicates of a row that are trained on, the newest; 0 means all.", 3)
    system: str = _help(
        "System prompt of training rows: keep, drop, or a shorter text or a file of it; judging asks the tuned model "
        "with that one and the others with the full one.",
        "keep",
        path=True,
    )
    per_tool: int = _help("Most training rows that call the same tool; 0 means all.", 0)
    per_template: int = _help("Most training rows whose first request differs in its values only; 0 means all.", 500)
    per_origin: int = _help("Most training rows of one thread and its forks; 0 means all.", 500)
    per_day: int = _help("Most training rows of one day; 0 means all.", 0)
    budget: int = _help("Most tokens of training rows, context included (estimated); 0 means all.", 0)
    seed: int = _help("Seed of every choice made while building the dataset.", 0)


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """How a conversation becomes text."""

    family: Literal["auto", "llama3", "mistral", "mistral-tekken", "qwen", "qwen3", "qwen3-instruct"] = _help(
        "Prompt family; auto asks the base's tokenizer.", "auto"
    )
    style: Literal["tagged", "meta"] = _help("How tools and calls are written; meta is Llama 3's alone.", "tagged")
    call_key: Literal["arguments", "args", "parameters"] = _help(
        "Key of a call's arguments in the tagged style.", "arguments"
    )


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """The recipe. The learning rate is that of torch's AdamW with scale = alpha / rank."""

    base: str = _help(
        "Base model: a folder or a repository; auto is Llama 3.2 3B Instruct, with MLX on a Mac in 4 bits.",
        "auto",
        path=True,
    )
    backend: Literal["auto", "peft", "mlx"] = _help("Trainer; auto takes MLX on a Mac, else PEFT.", "auto")
    quantize_base: Literal["none", "4bit", "8bit"] = _help(
        "Train on a copy of the base in so many bits (QLoRA).", "none"
    )
    precision: Literal["auto", "float32", "bfloat16"] = _help(
        "Arithmetic of the frozen base; auto is float32 on a CPU where it fits, else bfloat16.", "auto"
    )
    checkpointing: Literal["auto", "on", "off"] = _help(
        "Compute adapted layers twice instead of keeping them in memory (a third slower); auto where it must be.",
        "auto",
    )
    preset: Literal["gentle", "saga", "balanced", "bold"] = _help(
        "What is not set below: gentle (the defaults shown), saga, balanced or bold; `train --presets` says why.",
        "gentle",
    )
    rank: int = _help("LoRA rank.", 6)
    alpha: float = _help("LoRA alpha; scale = alpha / rank.", 8.0)
    dropout: float = _help("LoRA dropout.", 0.1)
    layers: float = _help("Top layers that get an adapter: below 1 a share, else a number; 0 means all.", 0.43)
    modules: tuple[str, ...] = _help("Projections that get an adapter.", ("gate_proj", "up_proj", "down_proj"))
    learning_rate: float = _help("Peak learning rate.", 7.5e-5)
    warmup: float = _help("Share of steps with a rising learning rate; cosine afterwards.", 0.05)
    weight_decay: float = _help("AdamW weight decay on adapter weights.", 0.0)
    clip: float = _help("Largest gradient norm; 0 means no clipping.", 1.0)
    batch: int = _help(
        "A forward pass computes at most so many times the tokens of the longest row; less where memory lacks, with "
        "more passes a step. 0 means as many as fit.",
        1,
    )
    accumulation: int = _help("Forward passes in one optimizer step.", 8)
    epochs: int = _help("Passes over the training rows.", 2)
    max_steps: int = _help("Stop after so many optimizer steps; 0 means never.", 0)
    evaluate_every: int = _help("Validation every so many steps.", 50)
    save_every: int = _help("Checkpoint every so many steps, and after each validation.", 50)
    patience: int = _help("Stop after so many validations without a better loss; 0 means never.", 3)
    rehearsal: float = _help(
        "Share of training rows that are the base's own answers to general prompts, against forgetting.", 0.2
    )
    min_examples: int = _help("Refuse to train on fewer distinct tasks (requests that differ in their words).", 50)
    threads: int = _help("CPU threads of the trainer; 0 means all.", 0)
    watts: float = _help("Power that training draws, for the energy of `train --plan`; 0 assumes the machine's.", 0.0)
    seed: int = _help("Seed of initial weights, order and dropout.", 0)
    mlflow: bool = _help("Record runs in MLflow too, in the workspace unless told otherwise.", False)
    mlflow_uri: str | None = _help("Where MLflow records; another machine is used only if it is named here.", None)

    def adapted(self, total: int) -> int:
        """Return how many of a base's `total` layers get an adapter."""
        wanted = round(self.layers * total) if self.layers < 1 else int(self.layers)
        return min(total, max(1, wanted)) if self.layers else total


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What is shipped."""

    quant: Literal["F32", "F16", "BF16", "Q8_0", "Q4_K_M"] = _help("Number format of the GGUF.", "Q4_K_M")
    base: str | None = _help(
        "Full-precision weights of the base, where train.base is packed into 4 or 8 bits: a folder or a repository; "
        "without one those that its name says it was made of.",
        None,
        path=True,
    )


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """How a candidate is judged."""

    max_tokens: int = _help("Longest answer while judging, in tokens.", 256)
    turns: int = _help("Most held-out turns that are judged; 0 means all.", 400)
    probes: str | None = _help("A JSONL file of your own probes, asked beside the shipped ones.", None, path=True)
    parallel: int = _help("Requests answered at a time.", 4)
    threads: int = _help("CPU threads of llama.cpp while judging; 0 means all.", 0)


@dataclass(frozen=True, slots=True)
class GateSettings:
    """When a candidate is promoted."""

    min_turns: int = _help("Fewer held-out turns than this are not enough evidence.", 30)
    margin: float = _help(
        "Largest loss against the current version (share of turns, or nats per token) that must be ruled out, and "
        "largest clear rise of unasked-for calls and of answers cut off.",
        0.03,
    )
    probe_margin: float = _help("Largest share of probes that may be lost.", 0.02)
    confidence: float = _help("Level of the intervals.", 0.95)


@dataclass(frozen=True, slots=True)
class DeploySettings:
    """Where versions live."""

    registry: Literal["auto", "ollama", "local"] = _help(
        "auto takes Ollama when one answers, else the local registry.", "auto"
    )
    name: str = _help("Name of the model that the agent asks for.", "lunar-custom")
    host: str = _help("Ollama's address.", "http://127.0.0.1:11434")
    keep: int = _help("Versions kept for rollback.", 5)


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """The local registry's door."""

    host: str = _help("Address to listen on; anything but loopback opens the model to the network.", "127.0.0.1")
    port: int = _help("Port to listen on.", 11500)
    context: int = _help("Context length in tokens.", 4096)
    parallel: int = _help("Requests answered at a time.", 2)
    threads: int = _help("CPU threads of llama.cpp while serving; 0 lets it choose.", 0)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of a workspace, one section a stage."""

    harvest: HarvestSettings = HarvestSettings()
    curate: CurateSettings = CurateSettings()
    dataset: DatasetSettings = DatasetSettings()
    prompt: PromptSettings = PromptSettings()
    train: TrainSettings = TrainSettings()
    export: ExportSettings = ExportSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    gate: GateSettings = GateSettings()
    deploy: DeploySettings = DeploySettings()
    serve: ServeSettings = ServeSettings()


def load_settings(files: list[Path], flags: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Return the settings of the TOML `files` that exist, later ones over earlier ones, then `flags` by section.

    The last `train.preset` named anywhere is laid under all of them; the base `auto` becomes the one it means here.

    Raises:
        SettingsError: unknown keys and wrong types, all of them.
    """
    told: list[tuple[Mapping[str, Any], str, Path | None]] = [
        (_parse(path), str(path), path.resolve().parent) for path in files if path.is_file()
    ]
    told.append((flags or {}, "the command line", None))
    trains = [values.get("train") for values, _, _ in told]
    named = [train["preset"] for train in trains if isinstance(train, Mapping) and "preset" in train]
    settings = overlay(Settings(), {"train": preset_values(named[-1])} if named else {}, "the preset", None)
    for values, origin, folder in told:
        settings = overlay(settings, values, origin, folder)
    if settings.train.base == "auto":
        settings = replace(settings, train=replace(settings.train, base=usual_base(settings.train.backend)))
    return settings


def usual_base(backend: str = "auto") -> str:
    """Return the base that `auto` means: the 4-bit copy where MLX will train on a Mac, the whole one elsewhere."""
    import platform
    import sys
    from importlib.util import find_spec

    mac = sys.platform == "darwin" and platform.machine() == "arm64"
    packed = mac and backend in ("auto", "mlx") and find_spec("mlx_lm") is not None
    return "mlx-community/Llama-3.2-3B-Instruct-4bit" if packed else "meta-llama/Llama-3.2-3B-Instruct"


def overlay(settings: Settings, values: Mapping[str, Any], origin: str, folder: Path | None) -> Settings:
    """Return `settings` with the sections of `values` laid over; `folder` anchors relative paths.

    Raises:
        SettingsError: every unknown section, unknown key, wrong type and value out of range.
    """
    problems: list[str] = []
    changed: dict[str, Any] = {}
    sections = {f.name: getattr(settings, f.name) for f in fields(settings)}
    for name, section in values.items():
        if name not in sections:
            problems.append(f"unknown section [{name}]{_did_you_mean(name, sections)}")
        elif not isinstance(section, Mapping):
            problems.append(f"[{name}] must be a table of settings")
        else:
            changed[name] = _overlay_section(sections[name], name, section, folder, problems)
    if problems:
        raise SettingsError(problems, origin)
    return replace(settings, **changed)


def _overlay_section(
    section: Any, name: str, values: Mapping[str, Any], folder: Path | None, problems: list[str]
) -> Any:
    hints = typing.get_type_hints(type(section))
    known = {f.name: f for f in fields(section)}
    accepted: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            problems.append(f"unknown key {name}.{key}{_did_you_mean(key, known)}")
            continue
        if hints[key] == tuple[TableMap, ...]:
            accepted[key] = table_maps(value, f"{name}.{key}", problems)
            continue
        converted, complaint = _convert(value, hints[key])
        if complaint:
            problems.append(f"{name}.{key} must be {complaint}, not {value!r}")
        elif (out := out_of_range(name, key, converted)) is not None:
            problems.append(f"{name}.{key} must be {out}, not {value!r}")
        else:
            accepted[key] = _anchor(converted, folder) if known[key].metadata["path"] and folder else converted
    return replace(section, **accepted)


def _convert(value: Any, hint: Any) -> tuple[Any, str]:
    """Return (value of the hinted type, "") or (None, what it should have been)."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return (value, "") if value in args else (None, "one of " + ", ".join(map(str, args)))
    if origin in (types.UnionType, typing.Union):
        inner = next(a for a in args if a is not type(None))
        return (None, "") if value is None else _convert(value, inner)
    if origin is tuple:
        good = isinstance(value, (list, tuple)) and all(isinstance(item, args[0]) for item in value)
        return (tuple(value), "") if good else (None, "a list of texts")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value), ""
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value, ""
    return None, {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[hint]


def _anchor(value: Any, folder: Path) -> Any:
    """Resolve relative paths against the TOML file's folder; a name that is no existing path (a repository) is kept."""
    if isinstance(value, tuple):
        return tuple(_anchor(item, folder) for item in value)
    # os.path, because pathlib raises on a text that is too long for a name
    if not value or Path(value).is_absolute() or not os.path.exists(folder / value):
        return value
    return str(folder / value)


def _parse(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"not TOML: {error}"], str(path)) from error


def _did_you_mean(name: str, known: Mapping[str, Any]) -> str:
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
