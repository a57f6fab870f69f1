"""Drafts into a dataset directory: rows by split, what was left out, a data card, the manifest last.

The id is that of the content (rows, splits, settings, verdicts), so the same input is the same dataset and is reused.
Rows go through a file, not through memory.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from lunar_tune import __version__
from lunar_tune.artefacts import SPLITS, Dataset, Draft, Split, Verdict
from lunar_tune.dataset.budget import choose
from lunar_tune.dataset.card import card
from lunar_tune.dataset.content import group_sizes
from lunar_tune.dataset.grouping.arrange import arrange
from lunar_tune.dataset.spool import Spool, write_lines
from lunar_tune.dataset.system import told_system, trained_system, with_system
from lunar_tune.errors import ArtefactBroken
from lunar_tune.files import (
    MANIFEST,
    artefacts_in,
    finish_artefact,
    make_private_dir,
    read_manifest,
    write_text,
)
from lunar_tune.identity import canonical_json, content_id, exact_json, plain_json
from lunar_tune.settings import DatasetSettings

FORMAT = 1


class Kept(Protocol):
    """What curation noted; complete once the drafts are used up."""

    verdicts: list[Verdict]

    def taken_back(self, verdict: Verdict, turns: int) -> None:
        """Note a conversation, of so many turns to learn, that was let through and that the dataset has no room for."""

    def summary(self) -> dict[str, Any]:
        """Return counts by step and reason."""


def write_dataset(
    drafts: Iterable[Draft],
    ledger: Kept,
    settings: DatasetSettings,
    home: Path,
    *,
    sources: Sequence[Mapping[str, Any]] = (),
    recorded: Mapping[str, Any] | None = None,
    redact: Callable[[str], str] | None = None,
) -> Dataset:
    """Write `HOME/datasets/<id>` and return it; one with the same content is reused.

    Args:
        drafts: what curation lets through, in any order.
        ledger: what it left out; read after the drafts.
        settings: split shares and seed; all of them are part of the id.
        home: the workspace, which the caller has to itself.
        sources: for the manifest, a mapping a log: {"source", "path", "watermark"}; the number of its rows is added.
        recorded: further settings for the manifest and the id, by section.
        redact: takes the secrets out of the prompt of `settings.system`, which went through no curation.

    Raises:
        DiskFull: nothing but unfinished work is left behind.
        SettingsError: the prompt cannot be read, or is empty.
    """
    trained = _prompt(settings, redact)
    work = home / "work" / "dataset"
    shutil.rmtree(work, ignore_errors=True)
    make_private_dir(work)
    spool = Spool(work / "rows.jsonl", trained)
    spool.fill(drafts)
    plan = _plan(spool, settings)
    for i, verdict in sorted(plan.dropped.items(), key=lambda item: item[1].id):
        ledger.taken_back(verdict, spool.loads[i].turns)
    facts, files = _write_splits(work, spool, plan)
    spool.path.unlink()
    facts["counts"]["dropped"], files["dropped"] = write_lines(
        work / "dropped.jsonl", map(plain_json, map(_dropped, ledger.verdicts))
    )
    logs = Counter(one.log for i, one in enumerate(spool.members) if i not in plan.dropped)
    chosen = {**(recorded or {}), "dataset": replace(settings, system=told_system(settings.system, trained))}
    name = content_id("ds", {"format": FORMAT, "code": __version__, "settings": chosen, "files": files})
    manifest = {
        "kind": "dataset",
        "id": name,
        "format": FORMAT,
        "code": __version__,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "sources": [{**s, "rows": logs[s["source"], s["path"]]} for s in sources],
        "settings": json.loads(canonical_json(chosen)),
        **facts,
        **plan.figures,
        "curation": ledger.summary(),
    }
    write_text(work / "README.md", card(manifest))
    known = {f"{file}.jsonl": digest for file, digest in files.items()}
    final = finish_artefact(work, home / "datasets" / name, manifest, known)
    os.utime(final / MANIFEST)  # a dataset that is made again is the newest again
    return load_dataset(final)


def _prompt(settings: DatasetSettings, redact: Callable[[str], str] | None) -> str | None:
    trained = trained_system(settings.system)
    return redact(trained) if trained and redact is not None else trained


@dataclass(frozen=True, slots=True)
class _Plan:
    """The group and the split of every row, which are dropped and why, and what the manifest says of the others."""

    groups: Sequence[int]
    splits: Sequence[Split]
    dropped: Mapping[int, Verdict]
    figures: Mapping[str, Any]


def _plan(spool: Spool, settings: DatasetSettings) -> _Plan:
    """Return where every row goes; the words of the spool, which are most of what is in memory, are given back."""
    arranged = arrange(spool.members, spool.corpus, settings)
    del spool.corpus
    chosen = choose(spool.members, spool.loads, arranged.splits, arranged.crowded, settings)
    dropped = chosen.dropped
    figures = {"leak": arranged.leak(dropped), "grouping": arranged.grouping(dropped), "budget": chosen.facts}
    return _Plan(arranged.groups, arranged.splits, dropped, figures)


def _write_splits(work: Path, spool: Spool, plan: _Plan) -> tuple[dict[str, Any], dict[str, str]]:
    """Write the split files, oldest rows first; return their facts for the manifest, and the SHA-256 of each."""
    members, groups, content, trained = spool.members, plan.groups, spool.content, spool.trained
    here = (i for i in range(len(members)) if i not in plan.dropped)
    order = sorted(here, key=lambda i: (members[i].started_at, members[i].id))
    facts: dict[str, Any] = {"counts": {}, "groups": {}, "turns": {}, "dates": {}}
    digests: dict[str, str] = {}
    for split in SPLITS:
        chosen = [i for i in order if plan.splits[i] == split]
        lines = spool.lines(chosen, (members[groups[i]].thread for i in chosen))
        if trained is not None:
            lines = _with_prompt(lines, split, trained)
        facts["counts"][split], digests[split] = write_lines(work / f"{split}.jsonl", lines)
        for i in chosen:
            content.add(spool.facts[i], trained if split != "test" else None)
        facts["groups"][split] = len({groups[i] for i in chosen})
        kinds = ("learnt", "calls", "context")
        facts["turns"][split] = {kind: sum(getattr(spool.facts[i], kind) for i in chosen) for kind in kinds}
        dates = [members[i].started_at[:10] for i in chosen if members[i].started_at]
        facts["dates"][split] = [min(dates, default=None), max(dates, default=None)]
    facts["content"] = {**content.facts(), "group_sizes": group_sizes(groups[i] for i in order)}
    facts["undated"] = sum(not members[i].started_at for i in order)
    return facts, digests


def _with_prompt(lines: Iterable[bytes], split: Split, trained: str) -> Iterator[bytes]:
    return (plain_json(with_system(exact_json(line), split, trained)) for line in lines)


def _dropped(verdict: Verdict) -> dict[str, Any]:
    line = {"id": verdict.id, "step": verdict.step, "reason": verdict.reason, "detail": verdict.detail}
    return line if verdict.message is None else {**line, "message": verdict.message}


def load_dataset(path: Path) -> Dataset:
    """Return the dataset of a finished directory.

    Raises:
        ArtefactBroken: no manifest, one of another format, or a file that is missing or of another size.
    """
    manifest = read_manifest(path)
    if manifest.get("kind") != "dataset" or manifest.get("format") != FORMAT:
        raise ArtefactBroken(path, "its manifest is not that of a dataset of this format")
    for name, facts in manifest["files"].items():
        if not (path / name).is_file() or (path / name).stat().st_size != facts["bytes"]:
            raise ArtefactBroken(path, f"{name} is not what the manifest says")
    return Dataset(str(manifest["id"]), path, {split: manifest["counts"][split] for split in SPLITS}, manifest)


def latest_dataset(home: Path) -> Dataset | None:
    """Return the dataset made last in a workspace, None before the first."""
    found = artefacts_in(home / "datasets")
    return load_dataset(found[-1]) if found else None
