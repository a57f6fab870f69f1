"""base · rehearsal · tokens · train: from a dataset to an adapter."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from lunar_tune import __version__, plugins
from lunar_tune.artefacts import REHEARSED, Dataset, Row, Run, Tokens
from lunar_tune.errors import OutOfMemory, TooFewExamples
from lunar_tune.files import finish_artefact, is_artefact, read_jsonl, write_bytes, write_jsonl
from lunar_tune.identity import content_id
from lunar_tune.presets import changed
from lunar_tune.seams import Prompt
from lunar_tune.workflow.fitting import Fitted, finished, fitted, lowered
from lunar_tune.workflow.forecast import require_disk
from lunar_tune.workflow.ground import Ground, ground, require_trainable
from lunar_tune.workflow.space import Workspace, load_run
from lunar_tune.workflow.track import Tracker

FIRST_DATE, DATES = date(2024, 1, 1), 1461  # rehearsed conversations are dated over these four years
REHEARSAL_TOKENS = 128  # longest rehearsed answer: these are short chats, and each costs training time
HELD_BACK = 12  # of the pool, for measuring how far the model moves where it is not trained
# settings that do not shape the adapter, or are in the base's id
NO_COUNT = ("min_examples", "watts", "preset", "base", "mlflow", "mlflow_uri")


def base_gguf(space: Workspace, on: Ground, quant: str) -> Path:
    """Return the base's own GGUF at a quantization, written once."""
    from lunar_tune.export.quantize import export_gguf

    final = base_gguf_folder(space, on, quant)
    if not is_artefact(final):
        space.talk.say(f"writing the base as {quant} GGUF (once)")
        work = space.fresh_work(final.name)
        export_gguf(
            on.whole.path,
            None,
            work / f"base.{quant}.gguf",
            quant,
            chat_template=on.prompt.serving_template,
            name=on.whole.name,
        )
        finish_artefact(work, final, {"base": on.whole.id, "quant": quant, "prompt": on.prompt.version})
    return final / f"base.{quant}.gguf"


def base_gguf_folder(space: Workspace, on: Ground, quant: str) -> Path:
    """Return where the base's own GGUF at a quantization is kept."""
    return space.home / "bases" / content_id("base", [on.whole.id, quant, on.prompt.version, __version__])


def rehearsal_folder(space: Workspace, on: Ground) -> Path:
    """Return where the base's own answers are kept."""
    from lunar_tune.dataset.general import general_prompts

    inputs = [on.base.id, on.prompt.version, general_prompts(), REHEARSAL_TOKENS, __version__, DATES]
    return space.home / "bases" / content_id("rehearsal", inputs)


def rehearsal_rows(space: Workspace, on: Ground) -> list[Row]:
    """Return the base's own answers to the shipped general prompts, asked once per base, as dataset rows.

    They are mixed into training so that the model keeps what it could do (self-distilled replay, arXiv 2605.26097).
    """
    from lunar_tune.dataset.general import general_prompts
    from lunar_tune.runtimes.llama_server import LlamaServer

    prompts = general_prompts()
    final = rehearsal_folder(space, on)
    if not is_artefact(final):
        space.talk.say(f"asking the base {len(prompts)} general questions for rehearsal (once)")
        dates = [_rehearsal_date(index) for index in range(len(prompts))]
        ids = [on.tokenizer.encode(on.prompt.text(m, [], day)) for m, day in zip(prompts, dates, strict=True)]
        context = max(map(len, ids)) + REHEARSAL_TOKENS + 8
        settings = space.settings.evaluate
        gguf = base_gguf(space, on, "F16")
        with LlamaServer(gguf, context=context, parallel=settings.parallel, threads=settings.threads) as server:
            answers = server.complete(ids, max_tokens=REHEARSAL_TOKENS, stops=on.prompt.stops)
        rows = [
            _rehearsal_row(index, messages, answer.text)
            for index, (messages, answer) in enumerate(zip(prompts, answers, strict=True))
            if answer.finish == "stop" and answer.text.strip()
        ]
        work = space.fresh_work(final.name)
        write_jsonl(work / "rehearsal.jsonl", rows)
        finish_artefact(work, final, {"base": on.base.id, "asked": len(prompts), "kept": len(rows)})
    return list(read_jsonl(final / "rehearsal.jsonl"))


def _rehearsal_date(index: int) -> str:
    """Return the date of the rehearsed conversation `index`: spread over the years around today's models.

    One date for all would teach that the base speaks on that day only.
    """
    return (FIRST_DATE + timedelta(days=index * 577 % DATES)).isoformat()


def _rehearsal_row(index: int, messages: list[dict[str, Any]], answer: str) -> Row:
    turn = {"role": "assistant", "content": answer.strip(), "weight": 1}
    return {
        "id": f"{REHEARSED}{index:04d}",
        "date": _rehearsal_date(index),
        "messages": [*messages, turn],
        "tools": [],
        "meta": {"source": "rehearsal"},
    }


def dataset_tokens(space: Workspace, dataset: Dataset, on: Ground) -> Tokens:
    """Tokenize a dataset once, rehearsal mixed into its training rows and a little of it into the validation rows."""
    from lunar_tune.tokens import tokenize_dataset

    share = space.settings.train.rehearsal
    extra: list[Row] = []
    back: list[Row] = []
    if share:
        pool = rehearsal_rows(space, on)
        back = _spread(pool, min(HELD_BACK, len(pool) // 2))
        wanted = round(dataset.counts["train"] * share / (1 - share))
        extra = _spread([row for row in pool if row not in back], wanted)
    window = space.settings.dataset.window
    return tokenize_dataset(dataset, on.prompt, on.tokenizer, on.base.id, window, space.home / "cache", extra, back)


def _spread(rows: list[Row], wanted: int) -> list[Row]:
    """Return `wanted` rows evenly spread over the pool, or the whole pool when it is smaller: no row twice."""
    if wanted >= len(rows):
        return rows
    return [rows[index * len(rows) // wanted] for index in range(wanted)]


def train(space: Workspace, dataset: Dataset, *, force: bool = False) -> Run:
    """Train an adapter; the same dataset, base and recipe are trained once, and an interrupted run goes on.

    Raises:
        TooFewExamples: fewer distinct tasks to train on than `train.min_examples`, unless forced.
        BaseMissing, BaseNotExportable, MissingExtra, TrainingError.
    """
    from lunar_tune.bases import too_small
    from lunar_tune.dataset.tasks import distinct_tasks
    from lunar_tune.train.backends import choose_backend
    from lunar_tune.train.mlflow_record import require_mlflow

    settings = space.settings.train
    found = distinct_tasks(read_jsonl(dataset.split("train")))
    if found < settings.min_examples and not force:
        raise TooFewExamples(found, settings.min_examples)
    on = ground(space)
    trainers = plugins.backends()
    backend = choose_backend(settings.backend, trainers)
    trainers[backend]()  # says what is not installed before anything long begins
    require_trainable(space, on, backend)
    if small := too_small(on.base.name, on.base.parameters):
        space.talk.say(small)
    if settings.mlflow:
        require_mlflow()
    tokens = dataset_tokens(space, dataset, on)
    if left_out := tokens.counts["train"]["left_out"]:
        said = ", ".join(f"{count} for {reason!r}" for reason, count in left_out.items())
        space.talk.say(f"left out while turning training rows into tokens: {said} ({tokens.path}/left_out.jsonl)")
    _check_own_rows(space, dataset, tokens, force)
    asked = asked_of(space, on, tokens, backend)
    if (done := finished(space, asked)) is not None:
        Tracker(space, done.id, dict(done.manifest)).done(done)
        return done
    require_disk(space, on)
    named = {"dataset": dataset.id, "base_name": on.base.name}
    made = fitted(space, on.base, tokens, asked)
    while True:
        try:
            return _train(space, made, tokens, on, {"asked": made.asked, **made.inputs, **named})
        except OutOfMemory as error:
            made = lowered(space, on.base, made, error)


def asked_of(space: Workspace, on: Ground, tokens: Tokens, backend: str) -> dict[str, Any]:
    """Return what a run is made of, before the machine has a say in it."""
    settings = asdict(space.settings.train)
    recipe = {key: value for key, value in settings.items() if key not in NO_COUNT} | {"backend": backend}
    return {"tokens": tokens.id, "base": on.base.id, "recipe": recipe, "code": __version__}


def _check_own_rows(space: Workspace, dataset: Dataset, tokens: Tokens, force: bool) -> None:
    """Make sure that what is left of the agent's own rows, rehearsal not counted, is worth training on.

    Raises:
        TooFewExamples: too few distinct tasks, unless forced; none, in any case.
    """
    from lunar_tune.dataset.tasks import distinct_tasks
    from lunar_tune.tokens import read_tokens, whole

    own = {whole(row.id) for row in read_tokens(tokens, "train") if not row.id.startswith(REHEARSED)}
    found = distinct_tasks(row for row in read_jsonl(dataset.split("train")) if row["id"] in own)
    if not own or (found < space.settings.train.min_examples and not force):
        error = TooFewExamples(found, space.settings.train.min_examples)
        left_out = tokens.counts["train"]["left_out"]
        if left_out:
            reasons = ", ".join(f"{count} for {reason!r}" for reason, count in left_out.items())
            error.message = f"{error.message} Turning conversations into tokens left out {reasons}."
        if left_out.get("window"):
            error.hint = (
                f"They are longer than dataset.window ({space.settings.dataset.window} tokens): raise it as far as "
                "memory allows, or shorten the agent's system prompt and tool schemas."
            )
        raise error


def _train(space: Workspace, made: Fitted, tokens: Tokens, on: Ground, inputs: dict[str, Any]) -> Run:
    from lunar_tune.train.process import TrainingSpec, supervise

    run_id, work = made.run, space.work(made.run)
    spec = TrainingSpec(inputs["recipe"]["backend"], on.base.path, tokens, made.settings, work)
    tracker = Tracker(space, run_id, inputs)
    _say_hub_cache(space)
    try:
        adapter = supervise(spec, tracker.hear)
    except BaseException as error:
        tracker.stopped(error)
        raise
    events = list(read_jsonl(work / "metrics.jsonl"))
    # The checkpoints stay until the artefact is there: killed in between, the run is delivered again as it is.
    done = space.fresh_work(f"{run_id}.done")
    for source in (*sorted(adapter.path.iterdir()), work / "metrics.jsonl"):
        write_bytes(done / source.relative_to(work), source.read_bytes())
    manifest = {
        "id": run_id,
        **inputs,
        "preset": {"name": space.settings.train.preset, "changed": changed(space.settings.train)},
        "prompt": prompt_record(space, on.prompt),
        "adapter": {"rank": adapter.rank, "alpha": adapter.alpha},
        "rows": dict(tokens.counts),
        **summary(events),
    }
    run = load_run(finish_artefact(done, space.home / "runs" / run_id, manifest))
    tracker.done(run)
    shutil.rmtree(work, ignore_errors=True)
    return run


def _say_hub_cache(space: Workspace) -> None:
    from lunar_tune.train.caches import hub_cache

    folder, size = hub_cache()
    if size:
        space.talk.say(f"the model hub's cache holds {size / 1e9:.1f} GB at {folder}; all else is in the workspace")


def prompt_record(space: Workspace, prompt: Prompt) -> dict[str, str]:
    """Return what a server needs to know to render and read as training did."""
    return {
        "family": prompt.family,
        "style": prompt.style,
        "call_key": space.settings.prompt.call_key,
        "version": prompt.version,
    }


def summary(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a run that its manifest keeps; the last event says which step was delivered."""
    losses = [event["loss"] for event in events if event["kind"] == "step" and event.get("loss") is not None]
    end = events[-1]
    return {
        "steps": end["step"],
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
        "valid_loss": end.get("valid_loss"),
        "best_step": end.get("best_step", end["step"]),
        "stopped_early": end["step"] < end["steps"],
    }
