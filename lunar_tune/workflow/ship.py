"""export · deploy · promote · rollback · versions: from an adapter to the model the agent is using."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from lunar_tune import __version__
from lunar_tune.artefacts import SPLITS, Dataset, Model, Run
from lunar_tune.errors import ExportError, RefusedError
from lunar_tune.files import artefacts_in, finish_artefact, is_artefact, read_jsonl, read_manifest, write_text
from lunar_tune.identity import content_id, file_sha256
from lunar_tune.seams import Registry
from lunar_tune.workflow.ground import Ground, ground
from lunar_tune.workflow.space import Workspace, find_dataset, load_model

PARAMETERS = {"temperature": 0.2, "num_ctx": 4096}  # tool calls want little chance; Ollama's own default is 0.8
CHECK_ROWS = 4  # rows whose logits are compared with the float32 source after every export
CHECK_TOKENS = 96  # tokens of each: the reference runs in numpy
# What a format's rounding explains: largest difference in log-probability (nats) and least share of equal best tokens.
# A wrong permutation, rope or tokenizer gives 5 to 12 nats and few equal tokens (measured on small Llamas); llama.cpp's
# 16-bit cache alone gives up to 0.09.
ROUNDING = {"F32": (0.1, 0.9), "F16": (0.25, 0.9), "BF16": (0.5, 0.9), "Q8_0": (1.5, 0.8), "Q4_K_M": (12.0, 0.5)}


def export(space: Workspace, run: Run) -> Model:
    """Fuse a run's adapter into its base, write GGUF and Modelfile, compare logits with the source; once per version.

    Raises:
        ExportError: the written model does not say what the source says.
        DiskFull, MissingExtra.
    """
    from lunar_tune.export.quantize import export_gguf

    on, quant = ground(space), space.settings.export.quant
    inputs = {"run": run.id, "quant": quant, "prompt": on.prompt.version, "name": space.settings.deploy.name}
    if on.whole.id != on.base.id:
        inputs["whole"] = on.whole.id
    version = content_id("v", {**inputs, "code": __version__})
    final = space.home / "models" / version
    if is_artefact(final):
        return load_model(final)
    work = space.fresh_work(version)
    gguf = work / f"{space.settings.deploy.name}.{quant}.gguf"
    space.talk.say(f"exporting {version} as {quant}")
    template = on.prompt.serving_template
    export_gguf(on.whole.path, run.adapter, gguf, quant, chat_template=template, name=space.settings.deploy.name)
    checked = check_export(space, on, run, gguf)
    fields = write_modelfile(space, on, run, gguf.name, work)
    manifest = {
        "version": version,
        **inputs,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "gguf": gguf.name,
        "sha256": file_sha256(gguf),
        "base": {"id": on.base.id, "name": on.base.name, "exported": on.whole.name},
        "dataset": run.manifest["dataset"],
        "prompt": run.manifest["prompt"],
        "system": trained_with(find_dataset(space.home, run.manifest["dataset"])),
        "modelfile": fields,
        "go_template": on.prompt.go_template,
        "checked": checked,
    }
    return load_model(finish_artefact(work, final, manifest))


def deploy(space: Workspace, model: Model) -> Registry:
    """Put a version into the registry that the settings choose; the choice is said.

    Raises:
        RegistryError: the registry said no.
    """
    registry = open_registry(space)
    registry.deploy(model)
    return registry


def promote(space: Workspace, version: str, *, force: bool = False) -> None:
    """Make a version current; the gate must have approved it unless forced, and a forced promotion is recorded.

    Raises:
        RefusedError: no evaluation approved it.
        VersionMissing: the registry does not hold it.
    """
    from lunar_tune.deploy import promotion

    if not force and approved_by(space, version) is None:
        raise RefusedError(
            f"No evaluation approved version {version!r}.",
            f"`lunar-tune evaluate {version}` judges it; --force promotes it all the same, by hand.",
        )
    registry = open_registry(space)
    promotion.promote(registry, version)
    if force:
        number = space.store.start_run("promote", version)
        space.store.finish_run(number, "promoted by hand", {"version": version})


def rollback(space: Workspace) -> str:
    """Make the version current that was so before, and return it.

    Raises:
        RegistryError: there is none.
    """
    from lunar_tune.deploy import promotion

    return promotion.rollback(open_registry(space))


def versions(space: Workspace) -> list[dict[str, Any]]:
    """Return the registry's versions in the form of `versions --json`, newest first."""
    from lunar_tune.deploy import promotion

    return promotion.versions(open_registry(space))


def open_registry(space: Workspace) -> Registry:
    """Return the registry that the settings choose, and say which and why."""
    from lunar_tune.deploy.promotion import choose_registry

    registry, why = choose_registry(space.settings.deploy, space.home)
    space.talk.say(why)
    return registry


def approved_by(space: Workspace, version: str) -> str | None:
    """Return the newest evaluation that said promote about a version, None without one."""
    for path in reversed(artefacts_in(space.home / "evaluations")):
        manifest = read_manifest(path)
        if manifest["version"] == version:
            return path.name if manifest["verdict"] == "promote" else None
    return None


def check_export(space: Workspace, on: Ground, run: Run, gguf: Path) -> dict[str, float]:
    """Compare the written model with base + adapter in float32 on the beginnings of a few rows; return the figures.

    Raises:
        ExportError: they differ by more than the format's rounding explains.
    """
    from lunar_tune.export.verify import verify

    dataset = find_dataset(space.home, run.manifest["dataset"])
    rows = [row for split in SPLITS for row in islice(read_jsonl(dataset.split(split)), CHECK_ROWS)][:CHECK_ROWS]
    prompts = [on.tokenizer.encode("".join(s.text for s in on.prompt.segments(row)))[-CHECK_TOKENS:] for row in rows]
    found = verify(gguf, on.whole.path, run.adapter, prompts)
    quant = space.settings.export.quant
    largest, equal = ROUNDING[quant]
    if not (found.max_abs_logprob_difference <= largest and found.greedy_equal >= equal):
        raise ExportError(
            f"The written {quant} model is not its source: log-probabilities differ by up to "
            f"{found.max_abs_logprob_difference:.3g} nats ({largest:g} is what rounding explains), the best token is "
            f"equal in {found.greedy_equal:.0%} of places ({equal:.0%} expected).",
            "Nothing was deployed. Try another --quant; if F16 differs too, the base's layout is not understood.",
        )
    return asdict(found)


def write_modelfile(space: Workspace, on: Ground, run: Run, gguf_name: str, work: Path) -> dict[str, Any]:
    """Write the Modelfile beside the GGUF and return the same content as fields for Ollama's create request.

    Neither has a TEMPLATE: the server renders with the GGUF's own, the one that made the training tokens. Ollama before
    0.30 cannot; the registry gives it the Go template that the manifest keeps.
    """
    from lunar_tune import modelfile

    dataset = find_dataset(space.home, run.manifest["dataset"])
    system, stops = usual_system(dataset), on.prompt.stops
    for problem in modelfile.modelfile_problems(go_template=None, system=system, stops=stops):
        space.talk.say(f"Modelfile: {problem}; Ollama's API can carry it")
    fields = modelfile.modelfile_request(system=system, stops=stops, parameters=PARAMETERS)
    text = modelfile.render_modelfile(gguf_name=gguf_name, system=system, stops=stops, parameters=PARAMETERS)
    write_text(work / "Modelfile", text)
    return fields


def usual_system(dataset: Dataset) -> str | None:
    """Return the system prompt that most of the newest rows have: what a request without one is given.

    Where a shorter one was trained with (`dataset.system`) it is that one; test rows keep the full one and name it.
    """
    counts = Counter(
        row["meta"].get("system", row["messages"][0]["content"])
        for split in ("valid", "test")
        for row in read_jsonl(dataset.path / f"{split}.jsonl")
        if row["messages"] and row["messages"][0]["role"] == "system"
    )
    return (counts.most_common(1)[0][0] or None) if counts else None


def trained_with(dataset: Dataset) -> str | None:
    """Return the system prompt that every row was trained with (`dataset.system`, "" for none), None for its own."""
    told = (row["meta"].get("system") for row in read_jsonl(dataset.split("test")))
    return next((system for system in told if system is not None), None)


def prune(space: Workspace) -> list[str]:
    """Delete versions that are not in use nor among the `deploy.keep` newest or last used; return their names."""
    from lunar_tune.deploy.promotion import choose_registry

    registry = choose_registry(space.settings.deploy, space.home)[0]
    keep, folder = space.settings.deploy.keep, space.home / "models"
    held = artefacts_in(folder)
    wanted = {registry.current(), *registry.previous()[:keep], *(path.name for path in held[-keep:])}
    gone = [path for path in held if path.name not in wanted]
    for path in gone:
        shutil.rmtree(path)
        space.talk.say(f"deleted {path.name}: older than the {keep} versions kept (deploy.keep)")
    return [path.name for path in gone]


def current_version(space: Workspace) -> str | None:
    """Return the version in use, None before the first."""
    from lunar_tune.deploy.promotion import choose_registry

    return choose_registry(space.settings.deploy, space.home)[0].current()
