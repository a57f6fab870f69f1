"""The data card: README.md of a dataset, in words and tables, from its manifest alone.

Its head is what the Hugging Face hub and `datasets.load_dataset` read; its text says what the rows are from, what was
taken out and why, what is known to be missing, and how to make them again.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from lunar_tune.artefacts import SPLITS
from lunar_tune.dataset.tables import at_home, histograms, summary

__all__ = ["card", "summary"]

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
UNTOLD = {("harvest", "tools"), ("curate", "names")}  # the first is no text but a file's; names are to be left out
HUB_SPLITS = {"train": "train", "valid": "validation", "test": "test"}


def card(manifest: Mapping[str, Any]) -> str:
    """Return the README of a dataset directory."""
    lines = [*_front_matter(manifest), f"# Dataset {manifest['id']}", "", *_paragraphs(_about(manifest))]
    lines += ["## How the rows are written", "", *_paragraphs(_shape())]
    for title, headers, rows in summary(manifest):
        lines += [f"## {title}", "", *_before(title, manifest), *_markdown(headers, rows), ""]
    lines += ["## Distributions", ""]
    for title, bars, note in histograms(manifest):
        if bars:
            lines += [f"### {title}", "", *([f"{_capital(note)}.", ""] if note else [])]
            lines += [*_markdown(["", "number"], [list(bar) for bar in bars]), ""]
    lines += ["## How to make it again", "", *_recipe(manifest), ""]
    for title, text in (("Limits", _limits(manifest)), ("Privacy", _privacy(manifest)), ("Licence", _licence())):
        lines += [f"## {title}", "", *_paragraphs(text)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _front_matter(manifest: Mapping[str, Any]) -> list[str]:
    """Return the YAML head; a split without rows is left out of it, for an empty file has no columns."""
    counts = manifest["counts"]
    total = sum(counts[split] for split in SPLITS)
    size = next((name for limit, name in SIZES if total < limit), "n>1M")
    tools = bool((manifest.get("content") or {}).get("tools"))
    lines = ["---", f"pretty_name: {json.dumps('Conversations of one agent, ' + manifest['id'])}"]
    lines += ["license: other", "license_name: owner-only", "task_categories:", "- text-generation", "tags:"]
    lines += ["- conversational", *(["- tool-calling"] if tools else []), "- lunar-tune"]
    lines += ["size_categories:", f"- {size}"]
    if any(counts[split] for split in SPLITS):
        lines += ["configs:", "- config_name: default", "  data_files:"]
        for split in SPLITS:
            if counts[split]:
                lines += [f"  - split: {HUB_SPLITS[split]}", f"    path: {split}.jsonl"]
    return [*lines, "---", ""]


def _about(manifest: Mapping[str, Any]) -> Iterator[str]:
    curation = manifest["curation"]
    turns, talks = curation["turns"], curation["conversations"]
    readers = " and ".join(dict.fromkeys(source["source"] for source in manifest["sources"])) or "no log"
    dates = [date for split in SPLITS for date in manifest["dates"][split] if date]
    when = f", from {min(dates)} to {max(dates)}" if dates else ""
    undated = f" {manifest['undated']} rows bear no date in the log." if manifest.get("undated") else ""
    yield (
        f"Conversations of one agent with its users{when}, read from its own logs ({readers}) and curated by "
        f"lunar-tune {manifest['code']}{_made_at(manifest)}. They are what was really said to and by that agent; "
        f"nothing was written for this dataset{_but_edits(curation)}.{undated}"
    )
    yield (
        f"{talks['read']} conversations with {turns['read']} assistant turns were read. {turns['kept']} of "
        f"{turns['read']} assistant turns may be learnt, in {talks['kept']} conversations; the others are context or "
        f"left out, each with its reason in `dropped.jsonl`: {turns['read']} = {turns['kept']} + {_left(turns)}."
    )


def _made_at(manifest: Mapping[str, Any]) -> str:
    return f" on {manifest['created_at'][:10]}" if manifest.get("created_at") else ""


def _but_edits(curation: Mapping[str, Any]) -> str:
    edited = (curation.get("review") or {}).get("edited by you", 0)
    return f", but for {edited} answers that its owner rewrote" if edited else ""


def _left(turns: Mapping[str, Any]) -> int:
    return sum(number for reasons in turns["left_out"].values() for number in reasons.values())


def _shape() -> Iterator[str]:
    yield (
        'Each line of `train.jsonl`, `valid.jsonl` and `test.jsonl` is `{"id", "date", "messages", "tools", "meta"}` '
        'in the OpenAI chat shape; a tool call\'s `arguments` are an object. An assistant message with `"weight": 0` '
        "is context only, one with 1 is to be learnt. `dropped.jsonl` names what was left out by conversation, "
        "message, step and reason, without its text."
    )


def _before(title: str, manifest: Mapping[str, Any]) -> list[str]:
    """Return what must be said before a table."""
    turns = manifest["curation"]["turns"]
    said = {
        "Rows": "Test rows are the newest. Conversations that belong together (a thread, its forks, copies) are a "
        "group, and a group is in one split only.",
        "Turns left out": f"{_left(turns)} turns, each once, by the first step that said no.",
        "Training rows left out by caps and budget": "What the settings of `[dataset]` cost; tokens are estimated. The "
        "rows are named in `dropped.jsonl`, by the step `budget`.",
        "Redacted": "Distinct values in a conversation, summed; each became a placeholder such as `<EMAIL_1>`, the "
        "same for the same value in a conversation.",
        "Overlap": "What of the test rows could be known from the other splits.",
        "Groups": "How many rows belong together, and so are in one split.",
        "Writing systems": "That of most letters at the beginning of a conversation's requests.",
        "Tools": "The share is that of all calls to learn.",
        "Decided by you": "Decisions of the owner (`lunar-tune review`), which go before every judgement of a step.",
    }.get(title)
    return [said, ""] if said else []


def _recipe(manifest: Mapping[str, Any]) -> list[str]:
    """Return the command and the settings that make this dataset from the same logs."""
    logs = " ".join(shlex.quote(at_home(source["path"])) for source in manifest["sources"])
    lines = ["```", f"lunar-tune harvest {logs}".rstrip(), "```", "", "with lunar.toml", "", "```toml"]
    for name in ("harvest", "curate", "dataset"):
        lines.append(f"[{name}]")
        for key, value in (manifest["settings"].get(name) or {}).items():
            if value is not None and (name, key) not in UNTOLD:
                lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    lines += ["```", "", f"The same logs, settings, decisions and version ({manifest['code']}) give the same id."]
    return lines


def _limits(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "It is one agent with its users, not a sample of people or tasks; what it does rarely is rare here. What its "
        "log does not store (`lunar-tune sources` says what) is missing here too. Answers were right when they were "
        "given, as far as nobody objected: silence of a user is taken for consent, and facts in them may be outdated."
    )
    yield (
        "Reasons are given by rules, which err: `lunar-tune review` shows kept and dropped turns side by side and "
        "overrules them. Lengths are estimates where no tokenizer is named."
    )
    if large := (manifest.get("grouping") or {}).get("never_held_out"):
        sizes = ", ".join(f"{size:,}" for size in large)
        yield (
            f"{len(large)} {'group is' if len(large) == 1 else 'groups are'} too large to be held out ({sizes} rows "
            "here; `dataset.largest_group` is a share of the rows before caps and budget): their rows are trained on, "
            "whatever their date, and nothing is judged on them."
        )
    if not manifest["counts"]["test"]:
        yield "There are no test rows: nothing can be judged on it."


def _privacy(manifest: Mapping[str, Any]) -> Iterator[str]:
    if (manifest["settings"].get("curate") or {}).get("redact", True):
        yield (
            "Redaction finds what looks like a secret, an e-mail address or a telephone number, and what its owner "
            "listed; names, addresses and what was told in plain words stay. Do not publish this folder. A model that "
            "is trained on it may repeat it."
        )
    else:
        yield "Redaction was switched off: secrets and addresses of the log stand here as they are. Keep it private."
    yield "`lunar-tune forget THREAD` removes a conversation, deletes this folder, and leaves it out from then on."


def _licence() -> Iterator[str]:
    yield (
        "The rows are the owner's own data and that of the people who spoke with the agent; no licence to use or pass "
        "on is given with this folder. Whether answers of a model may train another one is for its terms of use."
    )


def _paragraphs(text: Iterator[str]) -> Iterator[str]:
    for paragraph in text:
        yield from (paragraph, "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _markdown(headers: list[str], rows: list[list[Any]]) -> list[str]:
    if not rows:
        return ["None."]
    table = [headers, ["---"] * len(headers), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table]


def _cell(value: Any) -> str:
    """Return a table's cell; names come from logs and may hold any sign."""
    return " ".join(str(value).replace("|", "\\|").replace("<", "&lt;").split())
