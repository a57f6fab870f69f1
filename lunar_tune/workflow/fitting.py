"""The plan of a run: chosen once from what the machine has free, frozen in the run's inputs, lowered where that failed.

`HOME/work/<run>/plan.json` holds the plan of an unfinished run: it goes on with what it began with, whatever is free by
then. A run that steps down has an id of its own and names the one before it.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lunar_tune.artefacts import Run, Tokens
from lunar_tune.errors import ArtefactBroken, BaseMissing, LunarError, OutOfMemory
from lunar_tune.files import artefacts_in, read_json, read_manifest, write_json
from lunar_tune.identity import content_id
from lunar_tune.settings import TrainSettings
from lunar_tune.workflow.space import Workspace, load_run

if TYPE_CHECKING:
    from lunar_tune.bases import Base
    from lunar_tune.train.fit import Plan
    from lunar_tune.train.machine import Machine
    from lunar_tune.train.plan import Longest

PLAN = "plan.json"
STEPS_DOWN = 4  # the whole ladder, for a batch that is halved once
CHOSEN = ("batch", "accumulation", "checkpointing", "precision", "quantize_base")
_UNLOADING, _LOOK = 10.0, 0.2  # seconds that Ollama gets to give memory back, and between two looks


@dataclass(frozen=True)
class Fitted:
    """A run to be: its id, its inputs with the plan in them, and the settings that its trainer gets."""

    run: str
    asked: str
    inputs: dict[str, Any]
    plan: Plan
    settings: TrainSettings
    steps_down: int = 0


def finished(space: Workspace, asked: dict[str, Any]) -> Run | None:
    """Return the run that was already made of the same inputs, whatever plan it had."""
    name = _asked_id(asked)
    for path in reversed(artefacts_in(space.home / "runs")):
        try:
            if read_manifest(path).get("asked") == name:
                return load_run(path)
        except ArtefactBroken:
            continue
    return None


def fitted(space: Workspace, base: Base, tokens: Tokens, asked: dict[str, Any]) -> Fitted:
    """Return the run that the inputs ask for: the unfinished one with its plan, or a new one that fits what is free.

    Raises:
        DoesNotFit: nothing fits what is free now.
    """
    from lunar_tune.train.fit import choose
    from lunar_tune.train.machine import look

    release_memory(space)
    found = frozen(space, asked)
    if found is not None:
        space.talk.say(f"going on with run {found.run} as planned: {found.plan.words()}")
        return found
    settings, backend = space.settings.train, asked["recipe"]["backend"]
    shape = base_shape(base)
    if shape is None:  # a kind of base that the plan cannot read: tried as it is asked for
        return _freeze(space, as_asked(settings), asked)
    machine = look(backend)
    row = longest(tokens, settings)
    plan = choose(shape, settings, backend, machine, row)
    made = _freeze(space, plan, asked)
    space.talk.say(f"plan: {plan.words()}; {_memory_words(made, shape, backend, machine, row)}")
    return made


def lowered(space: Workspace, base: Base, made: Fitted, error: OutOfMemory) -> Fitted:
    """Return the run one notch below one that ran out of memory.

    Raises:
        OutOfMemory: there is no notch left, or too many were taken.
    """
    from lunar_tune.train.fit import step_down

    backend = made.inputs["recipe"]["backend"]
    plan = step_down(made.plan, space.settings.train, quantizes=_quantizes(base, backend))
    if plan is None or made.steps_down >= STEPS_DOWN:
        raise error
    asked = {**made.inputs, "recipe": {**made.inputs["recipe"], **_asked_choices(space.settings.train)}}
    asked.pop("stepped_down_from", None)
    lower = _freeze(space, plan, asked, made.run, made.steps_down + 1)
    old = space.home / "work" / made.run
    if replace(made.plan, checkpointing=plan.checkpointing) == plan and (old / "checkpoints").is_dir():
        # what is computed twice has the same numbers: the new run goes on from the old one's checkpoints
        shutil.move(old / "checkpoints", space.home / "work" / lower.run / "checkpoints")
        if (old / "metrics.jsonl").is_file():
            shutil.move(old / "metrics.jsonl", space.home / "work" / lower.run / "metrics.jsonl")
    shutil.rmtree(old, ignore_errors=True)
    space.talk.say(f"{error.message} Stepping down: {plan.words()}; run {lower.run} takes over from {made.run}.")
    return lower


def frozen(space: Workspace, asked: dict[str, Any]) -> Fitted | None:
    """Return the unfinished run of these inputs, the last that was stepped down to; None where there is none."""
    from lunar_tune.train.fit import read_plan

    name, found = _asked_id(asked), {}
    for path in (space.home / "work").glob(f"*/{PLAN}"):
        try:
            kept = read_json(path)
            if kept["asked"] == name:
                settings = space.settings.train
                made = _made(read_plan(kept["plan"]), settings, asked, kept["stepped_down_from"], kept["steps_down"])
                found.update({made.run: made} if made.run == path.parent.name else {})
        except (ArtefactBroken, KeyError, TypeError):
            continue  # another version's, or torn: the run is planned anew
    return max(found.values(), key=lambda made: made.steps_down, default=None)


def release_memory(space: Workspace) -> None:
    """Unload what an Ollama on this machine holds in memory, and say so; no Ollama is no error."""
    held = loaded_models(space)
    if not held:
        return
    client = _ollama(space)
    for model in held:
        try:
            client.unload(model["name"])
        except LunarError as error:
            space.talk.say(f"Ollama keeps {model['name']} in memory: {error.message}")
            continue
        space.talk.say(
            f"Ollama held {model['name']} in memory ({model.get('size', 0) / 1e9:.1f} GB); unloaded for the training, "
            "it comes back with the next request"
        )
    until = time.monotonic() + _UNLOADING  # the answer comes before the memory does
    while loaded_models(space) and time.monotonic() < until:
        time.sleep(_LOOK)


def loaded_models(space: Workspace) -> list[dict[str, Any]]:
    """Return the models that an Ollama on this machine holds in memory; none for a local registry or another host's."""
    from lunar_tune.deploy.ollama_api import normal_host
    from lunar_tune.deploy.promotion import PROBE_TIMEOUT

    settings = space.settings.deploy
    near = urlsplit(normal_host(settings.host)).hostname in ("127.0.0.1", "localhost", "::1")
    if settings.registry == "local" or not near:
        return []
    client = _ollama(space)
    try:
        client.version(timeout=PROBE_TIMEOUT)
        return [model for model in client.running() if model.get("name")]
    except LunarError:
        return []


def base_shape(base: Base) -> Any:
    """Return a base's `Shape`, None where its config is of a kind that the plan cannot read."""
    from lunar_tune.train.plan import read_shape

    try:
        return read_shape(base.config, base.name)
    except BaseMissing:
        return None


def longest(tokens: Tokens, settings: TrainSettings) -> Longest:
    """Return the longest row of the tokens, and the most supervised tokens of any."""
    from lunar_tune.tokens import read_tokens
    from lunar_tune.train.plan import Longest

    rows = [row for split in ("train", "valid") for row in read_tokens(tokens, split)]
    return Longest(max(len(row.ids) for row in rows), max(row.supervised for row in rows))


def as_asked(settings: TrainSettings) -> Plan:
    """Return the plan that settings are where nothing is chosen."""
    from lunar_tune.train.fit import read_plan
    from lunar_tune.train.settle import settled

    values = asdict(settled(settings))
    return read_plan({key: values[key] for key in CHOSEN})


def _freeze(space: Workspace, plan: Plan, asked: dict[str, Any], before: str | None = None, count: int = 0) -> Fitted:
    made = _made(plan, space.settings.train, asked, before, count)
    kept = {"asked": made.asked, "plan": asdict(plan), "stepped_down_from": before, "steps_down": count}
    write_json(space.work(made.run) / PLAN, kept)
    return made


def _made(plan: Plan, settings: TrainSettings, asked: dict[str, Any], before: str | None, count: int) -> Fitted:
    inputs = {**asked, "recipe": {**asked["recipe"], **asdict(plan)}}
    inputs |= {"stepped_down_from": before} if before else {}
    return Fitted(content_id("run", inputs), _asked_id(asked), inputs, plan, plan.apply(settings), count)


def _asked_id(asked: dict[str, Any]) -> str:
    return content_id("asked", asked)


def _asked_choices(settings: TrainSettings) -> dict[str, Any]:
    values = asdict(settings)
    return {key: values[key] for key in CHOSEN}


def _memory_words(made: Fitted, shape: Any, backend: str, machine: Machine, row: Longest) -> str:
    from lunar_tune.train.fit import memory

    needed = memory(shape, made.settings, made.plan, backend, machine, row).total
    return f"about {needed / 1e9:.1f} GB of the {machine.free / 1e9:.1f} GB that are free on the {machine.name}"


def _quantizes(base: Base, backend: str) -> bool:
    """Tell whether a trainer can make a 4-bit copy of this base here."""
    import sys
    from importlib.util import find_spec

    shape = base_shape(base)
    if shape is None or shape.packed is not None:
        return False
    if backend == "mlx":
        return all(wide % 32 == 0 for wide, _ in shape.widths.values())
    return backend == "peft" and sys.platform != "darwin" and find_spec("bitsandbytes") is not None


def _ollama(space: Workspace) -> Any:
    from lunar_tune.deploy.ollama_api import OllamaClient

    return OllamaClient(space.settings.deploy.host, timeout=_UNLOADING)
