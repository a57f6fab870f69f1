"""Forgetting a conversation: out of the episodes, the datasets and everything that was written from them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import SPLITS
from lunar_tune.errors import ArtefactBroken
from lunar_tune.files import artefacts_in, read_jsonl, read_manifest
from lunar_tune.identity import content_id
from lunar_tune.workflow.gather import asked_names
from lunar_tune.workflow.space import Workspace


def forget(space: Workspace, threads: Sequence[str]) -> dict[str, Any]:
    """Delete every trace of some conversations and never read them again; run again, it finishes what was broken off.

    Decisions of `review` about them go too, with the texts of edits. Datasets that hold one are deleted, and before
    them what was made from their texts (tokens, unfinished training, evaluations with their samples, judged answers).
    Trained versions stay and are named, for what a model has learnt cannot be taken out of it; so does the system
    prompt in a Modelfile.

    Returns:
        episodes, decisions, datasets and evaluations deleted, the versions that learnt from them, and the same in words
        (`said`).

    Raises:
        UsageError: a name is empty.
    """
    from lunar_tune.curate.redact import safe_name
    from lunar_tune.store import EpisodeStore
    from lunar_tune.store.decisions import Decisions

    asked = asked_names(threads)
    with contextlib.closing(EpisodeStore(space.home)) as kept:
        episodes = kept.forget(asked)
    decisions = Decisions(space.home).forget(asked)
    listed = space.settings.curate.names
    names = {*threads, *map(safe_name, threads), *(safe_name(thread, listed) for thread in threads)}
    folder = space.home / "datasets"
    datasets = [path for path in sorted(folder.glob("*")) if path.is_dir() and _holds(path, names)]
    ids = {path.name for path in datasets}
    known = {path.name for path in artefacts_in(folder)}
    evaluations = [
        path
        for path in artefacts_in(space.home / "evaluations")
        if (dataset := read_manifest(path).get("dataset")) in ids or dataset not in known
    ]
    versions = sorted(p.name for p in artefacts_in(space.home / "models") if read_manifest(p).get("dataset") in ids)
    if datasets or evaluations:
        space.store.forget_answers()
        for name in ("cache", "work"):
            shutil.rmtree(space.home / name, ignore_errors=True)
    for path in (*evaluations, *datasets):  # last what leads to the others
        shutil.rmtree(path)
    return {
        "threads": [*threads],
        "episodes": episodes,
        "decisions": decisions,
        "datasets": sorted(ids),
        "evaluations": sorted(path.name for path in evaluations),
        "versions": versions,
        "said": list(_said(episodes, decisions, len(datasets), len(evaluations), versions)),
    }


def remember(space: Workspace, threads: Sequence[str]) -> dict[str, Any]:
    """Let forgotten conversations be read again by the next harvest; `said` has a line for each.

    Raises:
        UsageError: a name is empty.
    """
    from lunar_tune.store import EpisodeStore

    with contextlib.closing(EpisodeStore(space.home)) as kept:
        found = [kept.remember(asked_names([name])) for name in threads]
    return {
        "threads": [*threads],
        "said": [
            f"{name}: the next harvest reads it again" if was else f"{name}: was not forgotten"
            for name, was in zip(threads, found, strict=True)
        ],
    }


def forgotten_mark(space: Workspace) -> str:
    """Return a content id of what is forgotten: a night depends on it."""
    from lunar_tune.store import EpisodeStore

    with contextlib.closing(EpisodeStore(space.home)) as kept:
        return content_id("forgotten", sorted(name.hex() for name in kept.forgotten()))


def _holds(dataset: Path, names: set[str]) -> bool:
    """Tell whether a row names a thread, or one of its branches; what cannot be read might."""
    try:
        for split in SPLITS:
            for row in read_jsonl(dataset / f"{split}.jsonl"):
                thread, group = str(row["meta"]["thread"]), row["meta"].get("group")
                if {thread, thread.rpartition("#")[0], thread.partition("#")[0], group} & names:
                    return True
    except (ArtefactBroken, OSError, LookupError, TypeError):
        return True
    return False


def _said(episodes: int, decisions: int, datasets: int, evaluations: int, versions: Sequence[str]) -> Iterator[str]:
    yield f"forgot {episodes} episode(s), {datasets} dataset(s) and {evaluations} evaluation(s)"
    if decisions:
        yield f"forgot {decisions} decision(s) of `lunar-tune review`"
    if not episodes:
        yield "no episode of that name was held; it will not be read either"
    if versions:
        yield f"learnt from it before: {', '.join(versions)}; `lunar-tune nightly` trains without it"
