"""A dataset's manifest in tables and histograms, for the terminal and for the data card alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import SPLITS

Table = tuple[str, list[str], list[list[Any]]]  # title, headers, rows of texts and numbers
Bars = tuple[str, list[tuple[str, int]], str]  # title, (label, number), what must be known to read it


def summary(manifest: Mapping[str, Any]) -> list[Table]:
    """Return the tables of `dataset show`: splits, what was left out and why, overlap, redactions, where it is from."""
    curation = manifest["curation"]
    headers = ["step", "reason", "turns"]
    tables = [_splits(manifest), ("Turns left out", headers, _reasons(curation["turns"]["left_out"]))]
    whole = _reasons(curation["conversations"]["left_out"])
    if whole:
        tables.append(("Conversations left out whole", ["step", "reason", "conversations"], whole))
    if costs := (manifest.get("budget") or {}).get("dropped"):
        headers = ["reason", "rows", "turns to learn", "tokens"]
        rows = [[reason, one["rows"], one["turns"], one["tokens"]] for reason, one in costs.items()]
        tables.append(("Training rows left out by caps and budget", headers, rows))
    if curation["unreadable"]:
        tables.append(("Left out while reading", ["step", "reason", "times"], _reasons(curation["unreadable"])))
    if curation.get("review"):
        decided = [list(pair) for pair in curation["review"].items() if pair[1]]
        tables.append(("Decided by you", ["decision", "turns"], decided))
    if curation["redacted"]:
        tables.append(("Redacted", ["kind", "values"], [list(pair) for pair in curation["redacted"].items()]))
    tables.append(("Overlap", ["measure", "found", "of", "share"], _overlap(manifest["leak"])))
    if manifest.get("content"):
        tables += [table for table in _content(manifest) if table[2]]
    sources = [[s["source"], at_home(s["path"]), s["rows"]] for s in manifest["sources"]]
    tables.append(("Sources", ["reader", "log", "rows"], sources))
    return tables


def at_home(path: str) -> str:
    """Return a path with the owner's home folder as `~`: it often is a name."""
    home = str(Path.home())
    return "~" + path[len(home) :] if home != "/" and path.startswith(home + "/") else path


def _splits(manifest: Mapping[str, Any]) -> Table:
    rows: list[list[Any]] = []
    for split in SPLITS:
        turns, dates = manifest["turns"][split], manifest["dates"][split]
        numbers = [manifest["counts"][split], manifest["groups"][split], turns["learnt"], turns["calls"]]
        rows.append([split, *numbers, *(date or "-" for date in dates)])
    return ("Rows", ["split", "rows", "groups", "turns to learn", "of them calls", "from", "to"], rows)


def _overlap(leak: Mapping[str, Any]) -> list[list[Any]]:
    """Return what of test stands elsewhere: number, of how many, share."""
    grams = f"{leak['ngram']}-word sequences of test that stand in the other splits"
    own = leak["test_ngrams"] - leak.get("boilerplate", 0)
    rows = []
    if "raw_shared" in leak:
        rows.append([f"{grams}, standing phrases apart", leak.get("shared", 0), own])
        rows.append([f"{grams}, all", leak["raw_shared"], leak["test_ngrams"]])
    else:
        rows.append([grams, leak["shared"], leak["test_ngrams"]])
    if "near_duplicates" in leak:
        rows.append(["test rows with a near-duplicate in the other splits", leak["near_duplicates"], leak["test_rows"]])
    repeated = "requests of test that stand in the other splits word for word"
    rows.append([repeated, leak["repeated_requests"], leak["test_requests"]])
    return [[*row, round(row[1] / row[2], 6) if row[2] else 0.0] for row in rows]


def _content(manifest: Mapping[str, Any]) -> list[Table]:
    content = manifest["content"]
    rows, calls = sum(manifest["counts"][split] for split in SPLITS), _calls(content)
    tools = [
        [name, one["offered"], one["learnt_calls"], f"{one['learnt_calls'] / calls:.1%}" if calls else "-"]
        for name, one in content["tools"].items()
    ]
    groups = [[f"{size} rows" if size != "1" else "1 row", n] for size, n in content.get("group_sizes", {}).items()]
    scripts = [[name, n, f"{n / rows:.1%}" if rows else "-"] for name, n in content["scripts"].items()]
    return [
        ("Tools", ["tool", "offered in rows", "calls to learn", "share"], tools),
        ("Models that answered", ["model", "rows"], [list(pair) for pair in content["models"].items()]),
        ("Writing systems", ["letters", "rows", "share"], scripts),
        ("Groups", ["size", "groups"], groups),
    ]


def _calls(content: Mapping[str, Any]) -> int:
    return sum(one["learnt_calls"] for one in content["tools"].values())


def histograms(manifest: Mapping[str, Any], tokens: Mapping[str, Any] | None = None) -> list[Bars]:
    """Return the histograms of a dataset; `tokens` are those that a tokenizer counted, if one did."""
    content = manifest.get("content")
    if not content:  # made by an earlier version
        return []
    tokens = tokens or content["tokens"]
    learnt = [(f"{number} turns" if number != "1" else "1 turn", n) for number, n in content["learnt"].items()]
    calls = [(name, one["learnt_calls"]) for name, one in content["tools"].items()]
    return [
        ("Tokens of a row", _buckets(tokens["rows"]), _told(tokens, "rows")),
        ("Tokens to learn in a row", _buckets(tokens["answers"]), _told(tokens, "answers")),
        ("Calls to learn by tool", calls, ""),
        ("Turns to learn in a row", learnt, ""),
        ("Rows by month", list(content["months"].items()), ""),
        ("Rows by source", list(content["sources"].items()), ""),
    ]


def _buckets(lengths: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(name if name == "longer" else f"up to {name}", number) for name, number in lengths["up_to"].items()]


def _told(tokens: Mapping[str, Any], of: str) -> str:
    lengths = tokens[of]
    how = "estimated, four characters a token" if tokens["how"] == "estimated" else f"counted with {tokens['how']}"
    of_what = f"in the {tokens['sample']:,} rows looked at" if tokens.get("sample") else "in all"
    return f"{lengths['sum']:,} {of_what}, longest {lengths['longest']:,}; {how}"


def _reasons(nested: Mapping[str, Mapping[str, int]]) -> list[list[Any]]:
    """Return [step, reason, number], the largest number first."""
    flat = [(step, reason, number) for step, reasons in nested.items() for reason, number in reasons.items()]
    return [list(row) for row in sorted(flat, key=lambda row: (-row[2], row[0], row[1]))]
