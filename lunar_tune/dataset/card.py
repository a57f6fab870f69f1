"""A dataset in words and tables, from its manifest alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lunar_tune.artefacts import SPLITS

Table = tuple[str, list[str], list[list[Any]]]  # title, headers, rows of texts and numbers


def summary(manifest: Mapping[str, Any]) -> list[Table]:
    """Return the tables of `dataset show`: splits, what was left out and why, overlap, redactions, where it is from."""
    curation, leak = manifest["curation"], manifest["leak"]
    headers = ["step", "reason", "turns"]
    tables = [_splits(manifest), ("Turns left out", headers, _reasons(curation["turns"]["left_out"]))]
    if curation["unreadable"]:
        tables.append(("Left out while reading", ["step", "reason", "times"], _reasons(curation["unreadable"])))
    if curation["redacted"]:
        tables.append(("Redacted", ["kind", "values"], [list(pair) for pair in curation["redacted"].items()]))
    grams = f"{leak['ngram']}-word sequences"
    overlap = [
        [f"{grams} of test that stand in train", leak["shared"], leak["test_ngrams"]],
        ["requests of test that stand in train word for word", leak["repeated_requests"], leak["test_requests"]],
    ]
    tables.append(("Overlap", ["measure", "found", "of"], overlap))
    sources = [[s["source"], s["path"], s["rows"]] for s in manifest["sources"]]
    tables.append(("Sources", ["reader", "log", "rows"], sources))
    return tables


def _splits(manifest: Mapping[str, Any]) -> Table:
    rows: list[list[Any]] = []
    for split in SPLITS:
        turns, dates = manifest["turns"][split], manifest["dates"][split]
        numbers = [manifest["counts"][split], manifest["groups"][split], turns["learnt"], turns["calls"]]
        rows.append([split, *numbers, *(date or "-" for date in dates)])
    return ("Rows", ["split", "rows", "groups", "turns to learn", "of them calls", "from", "to"], rows)


def _reasons(nested: Mapping[str, Mapping[str, int]]) -> list[list[Any]]:
    """Return [step, reason, number], the largest number first."""
    flat = [(step, reason, number) for step, reasons in nested.items() for reason, number in reasons.items()]
    return [list(row) for row in sorted(flat, key=lambda row: (-row[2], row[0], row[1]))]


def card(manifest: Mapping[str, Any]) -> str:
    """Return the README of a dataset directory."""
    turns = manifest["curation"]["turns"]
    lines = [
        f"# Dataset {manifest['id']}",
        "",
        f"Conversations of one agent, curated from its own logs by lunar-tune {manifest['code']}. "
        f"{turns['kept']} of {turns['read']} assistant turns may be learnt; the others are context or left out, "
        "each with its reason in `dropped.jsonl`.",
        "",
        "Each line of `train.jsonl`, `valid.jsonl` and `test.jsonl` is "
        '`{"id", "date", "messages", "tools", "meta"}` in the OpenAI chat shape; an assistant message with '
        '`"weight": 0` is context only. Test rows are the newest; conversations that belong together are in one split.',
        "",
    ]
    for title, headers, rows in summary(manifest):
        lines += [f"## {title}", "", *_markdown(headers, rows), ""]
    lines += [
        "## Limits",
        "",
        "Redaction finds what looks like a secret, an e-mail address or a telephone number; names, addresses and what "
        "was told in plain words stay. Do not publish this folder.",
    ]
    return "\n".join(lines) + "\n"


def _markdown(headers: list[str], rows: list[list[Any]]) -> list[str]:
    if not rows:
        return ["None."]
    table = [headers, ["---"] * len(headers), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in table]
