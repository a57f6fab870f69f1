"""export · deploy · promote · rollback · versions: from an adapter to the model the agent is using."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lunar_tune import __version__
from lunar_tune.artefacts import Model, Run
from lunar_tune.errors import RefusedError
from lunar_tune.files import artefacts_in, finish_artefact, is_artefact, read_jsonl, read_manifest
from lunar_tune.identity import content_id, file_sha256
from lunar_tune.seams import Registry
from lunar_tune.workflow.learn import Ground, ground
from lunar_tune.workflow.space import Workspace, find_dataset, find_model, load_model

CHECK_ROWS = 4  # rows whose logits are compared with the float32 source after every export
CHECK_TOKENS = 96  # tokens of each: the reference runs in numpy


def export(space: Workspace, run: Run) -> Model:
    """Fuse a run's adapter into its base, write GGUF and Modelfile, compare logits with the source; once per version.

    Raises:
        ExportError: the written model does not say what the source says.
        DiskFull, MissingExtra.
    """
    from lunar_tune.export import export_gguf

    on, quant = ground(space), space.settings.export.quant
    inputs = {"run": run.id, "quant": quant, "prompt": on.prompt.version, "name": space.settings.deploy.name}
    version = content_id("v", {**inputs, "code": __version__})
    final = space.home / "models" / version
    if is_artefact(final):
        return load_model(final)
    work = space.fresh_work(version)
    gguf = work / f"{space.settings.deploy.name}.{quant}.gguf"
    space.talk.say(f"exporting {version} as {quant}")
    template = on.prompt.serving_template
    export_gguf(on.base.path, run.adapter, gguf, quant, chat_template=template, name=space.settings.deploy.name)
    checked = check_export(space, on, run, gguf)
    fields = write_modelfile(space, on, run, work)
    manifest = {
        "version": version,
        **inputs,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "gguf": gguf.name,
        "sha256": file_sha256(gguf),
        "base": {"id": on.base.id, "name": on.base.name},
        "dataset": run.manifest["dataset"],
        "prompt": run.manifest["prompt"],
        "modelfile": fields,
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
