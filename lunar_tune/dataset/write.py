"""Drafts into a dataset directory: rows by split, what was left out, a data card, the manifest last.

The id is that of the content (rows, splits, settings, verdicts), so the same input is the same dataset and is reused.
Rows go through a file, not through memory.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from lunar_tune import __version__, chatml
from lunar_tune.artefacts import SPLITS, Dataset, Draft, Row, Split, Verdict
from lunar_tune.dataset.card import card
from lunar_tune.dataset.leak import leak_score
from lunar_tune.dataset.split import Member, assign, components, member, started_at
from lunar_tune.errors import ArtefactBroken
from lunar_tune.files import (
    MANIFEST,
    artefacts_in,
    finish_artefact,
    make_private_dir,
    read_jsonl,
    read_manifest,
    write_jsonl,
    write_text,
)
from lunar_tune.identity import canonical_json, content_id, file_sha256
from lunar_tune.settings import DatasetSettings

FORMAT = 1
UNDATED = "2024-07-26"  # the date that the Llama 3 chat template writes when none is given


class Kept(Protocol):
    """What curation noted; complete once the drafts are used up."""

    verdicts: list[Verdict]

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
) -> Dataset:
    """Write `HOME/datasets/<id>` and return it; one with the same content is reused.

    Args:
        drafts: what curation lets through, in any order.
        ledger: what it left out; read after the drafts.
        settings: split shares and seed; all of them are part of the id.
        home: the workspace, which the caller has to itself.
        sources: for the manifest, a mapping a log: {"source", "path", "watermark"}; the number of its rows is added.
        recorded: further settings for the manifest and the id, by section.

    Raises:
        DiskFull: nothing but unfinished work is left behind.
    """
    work = home / "work" / "dataset"
    shutil.rmtree(work, ignore_errors=True)
    make_private_dir(work)
    members: list[Member] = []
    write_jsonl(work / "rows.jsonl", _rows(drafts, members))
    groups = components(members)
    splits = assign(members, groups, settings)
    facts = _write_splits(work, members, groups, splits)
    (work / "rows.jsonl").unlink()
    dropped = write_jsonl(work / "dropped.jsonl", map(_dropped, ledger.verdicts))
    facts["counts"]["dropped"] = dropped
    logs = Counter(one.log for one in members)
    chosen = {**(recorded or {}), "dataset": settings}
    files = {name: file_sha256(work / f"{name}.jsonl") for name in (*SPLITS, "dropped")}
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
        "leak": leak_score(read_jsonl(work / "train.jsonl"), read_jsonl(work / "test.jsonl")),
        "curation": ledger.summary(),
    }
    write_text(work / "README.md", card(manifest))
    final = finish_artefact(work, home / "datasets" / name, manifest)
    os.utime(final / MANIFEST)  # a dataset that is made again is the newest again
    return load_dataset(final)


def _rows(drafts: Iterable[Draft], members: list[Member]) -> Iterator[Row]:
    """Yield a row a draft, noting for each what splitting needs."""
    for draft in drafts:
        members.append(member(draft))
        episode = draft.episode
        yield {
            "id": members[-1].id,
            "date": started_at(draft)[:10] or UNDATED,
            "messages": chatml.to_messages(episode, draft.weights),
            "tools": chatml.to_tools(episode.tools),
            "meta": {"source": episode.source, "thread": episode.thread, "group": "", "model": episode.model},
        }


def _write_splits(
    work: Path, members: Sequence[Member], groups: Sequence[int], splits: Sequence[Split]
) -> dict[str, Any]:
    """Write the split files, oldest rows first, and return their facts for the manifest."""
    order = sorted(range(len(members)), key=lambda i: (members[i].started_at, members[i].id))
    offsets = _offsets(work / "rows.jsonl")
    facts: dict[str, Any] = {"counts": {}, "groups": {}, "turns": {}, "dates": {}}
    with (work / "rows.jsonl").open("rb") as spool:
        for split in SPLITS:
            chosen = [i for i in order if splits[i] == split]
            tally = {"learnt": 0, "calls": 0, "context": 0}

            def rows(chosen: list[int] = chosen, tally: dict[str, int] = tally) -> Iterator[Row]:
                for i in chosen:
                    spool.seek(offsets[i])
                    row = json.loads(spool.readline().decode("utf-8", "surrogatepass"))
                    row["meta"]["group"] = members[groups[i]].thread
                    _count(row, tally)
                    yield row

            facts["counts"][split] = write_jsonl(work / f"{split}.jsonl", rows())
            facts["groups"][split] = len({groups[i] for i in chosen})
            facts["turns"][split] = tally
            dates = [members[i].started_at[:10] for i in chosen if members[i].started_at]
            facts["dates"][split] = [min(dates, default=None), max(dates, default=None)]
    facts["undated"] = sum(not one.started_at for one in members)
    return facts


def _count(row: Row, tally: dict[str, int]) -> None:
    for message in row["messages"]:
        if message["role"] == "assistant":
            tally["learnt" if message["weight"] else "context"] += 1
            tally["calls"] += bool(message["weight"] and message.get("tool_calls"))


def _offsets(path: Path) -> list[int]:
    offsets, place = [], 0
    with path.open("rb") as handle:
        for line in handle:
            offsets.append(place)
            place += len(line)
    return offsets


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
