"""Turns set aside because of what the user said next, on labelled conversations. `bench_corrections.py [--misses]`.

tests/curate/corrections_{seen,unseen}.jsonl hold the conversations; half of them only look like corrections. `wanted`
gives 0 for every assistant turn of an exchange that the user rejected, 1 for all others. A turn counts as convicted if
the step named in `STEPS` set it aside; what another step set aside is left out of the figures and counted. The classes
follow UR1-UR5 of Don-Yehiya et al. 2024 (arXiv 2407.10944), with undo and regenerate beside them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lunar_tune.curate import Ledger, curate
from lunar_tune.episodes import Episode, Message, ToolCall, ToolSpec
from lunar_tune.settings import CurateSettings

FOLDER = Path(__file__).parents[1] / "curate"
HALVES = ("seen", "unseen")
STEPS = ("signals",)
"""The steps that judge turns by what the user says."""
PRECISION, RECALL = 0.9, 0.7


@dataclass(frozen=True, slots=True)
class Judged:
    """A labelled conversation and what curation did: its turns by the step that set them aside."""

    row: dict[str, Any]
    out: dict[int, tuple[str, str]]

    def turns(self) -> Iterator[tuple[bool, bool]]:
        """Yield (wanted aside, set aside because of the user) of the turns that no other step set aside."""
        for index, keep in self.row["wanted"].items():
            step, _ = self.out.get(int(index), ("", ""))
            if step in ("", *STEPS):
                yield not keep, step in STEPS

    @property
    def elsewhere(self) -> int:
        """How many labelled turns another step set aside."""
        return sum(self.out.get(int(index), ("signals",))[0] not in STEPS for index in self.row["wanted"])


@dataclass(frozen=True, slots=True)
class Figures:
    """Turns rightly set aside, wrongly set aside, and missed."""

    hit: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float:
        """Share of the turns set aside that the user did reject; 1 where none was."""
        return self.hit / (self.hit + self.wrong) if self.hit + self.wrong else 1.0

    @property
    def recall(self) -> float:
        """Share of the turns that the user rejected which were set aside; 1 where there is none."""
        return self.hit / (self.hit + self.missed) if self.hit + self.missed else 1.0


def read(half: str) -> list[dict[str, Any]]:
    """Return the labelled conversations of a half."""
    lines = (FOLDER / f"corrections_{half}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def to_episode(row: dict[str, Any]) -> Episode:
    """Return a labelled conversation as a log holds it, the tools it uses offered."""
    messages = []
    for number, given in enumerate(row["messages"]):
        fields = {**given, "tool_calls": tuple(ToolCall(**call) for call in given.get("tool_calls", ()))}
        messages.append(Message(**fields, created_at=f"2026-03-01T10:{number:02d}:00Z"))
    return Episode(
        source="lunar",
        path="corrections.db",
        thread=row["id"],
        messages=tuple(messages),
        started_at="2026-03-01T10:00:00Z",
        model="agent",
        tools=tuple(_offered(messages)),
    )


def _offered(messages: Sequence[Message]) -> Iterator[ToolSpec]:
    kinds = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    taken: dict[str, dict[str, Any]] = {}
    for message in messages:
        for call in message.tool_calls:
            properties = taken.setdefault(call.name, {})
            properties.update({key: {"type": kinds[type(value)]} for key, value in call.arguments.items()})
    for name, properties in taken.items():
        yield ToolSpec(name=name, parameters={"type": "object", "properties": properties})


def judge(rows: Iterable[dict[str, Any]]) -> list[Judged]:
    """Run curation over labelled conversations."""
    made = {(one := to_episode(row)).id: (row, one) for row in rows}
    ledger = Ledger()
    settings = replace(CurateSettings(), redact=False)  # ids stay those of the episodes
    for _ in curate([episode for _, episode in made.values()], settings, ledger):
        pass
    out: dict[str, dict[int, tuple[str, str]]] = {name: {} for name in made}
    for verdict in ledger.verdicts:
        if verdict.message is not None:
            out[verdict.id].setdefault(verdict.message, (verdict.step, verdict.reason))
        elif verdict.step != "curate":  # that one only says that no turn is left
            whole = (verdict.step, verdict.reason)
            out[verdict.id] |= {int(i): whole for i in made[verdict.id][0]["wanted"] if int(i) not in out[verdict.id]}
    return [Judged(row, out[name]) for name, (row, _) in made.items()]


def figures(judged: Iterable[Judged]) -> Figures:
    """Count over turns."""
    counts = Counter(turn for one in judged for turn in one.turns())
    return Figures(counts[True, True], counts[False, True], counts[True, False])


def line(name: str, judged: Sequence[Judged]) -> None:
    """Print the figures of a part."""
    got, traps = figures(judged), [one for one in judged if one.row["trap"]]
    fell = sum(any(aside for _, aside in one.turns()) for one in traps)
    print(
        f"{name:34s} {len(judged):4d} conversations  precision {got.precision:.3f} ({got.hit}/{got.hit + got.wrong})"
        f"  recall {got.recall:.3f} ({got.hit}/{got.hit + got.missed})  traps convicted {fell}/{len(traps)}"
    )


def misses(judged: Iterable[Judged]) -> None:
    """Print the conversations of the seen half that went wrong."""
    for one in judged:
        if any(wanted != aside for wanted, aside in one.turns()):
            print(f"--- {one.row['id']} {one.row['class']} {one.row['lang']} {'trap' if one.row['trap'] else ''}")
            for index, message in enumerate(one.row["messages"]):
                mark = {0: "reject", 1: "keep"}.get(one.row["wanted"].get(str(index)), "")
                said = message["content"] or json.dumps(message.get("tool_calls"), ensure_ascii=False)
                print(f"  {message['role']:9s} {mark:6s} {one.out.get(index, ('', ''))[1]:30s} {said}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--misses", action="store_true", help="what went wrong in the seen half")
    parser.add_argument("--summary", action="store_true", help="the seen half only")
    given = parser.parse_args()
    halves = {half: judge(read(half)) for half in (HALVES[:1] if given.summary else HALVES)}
    everything = [one for judged in halves.values() for one in judged]
    for half, judged in halves.items():
        line(f"{half} half", judged)
    line("over all", everything)
    for key in ("class", "lang"):
        for name in sorted({one.row[key] for one in everything}):
            line(f"{key} {name}", [one for one in everything if one.row[key] == name])
    print(f"{sum(one.elsewhere for one in everything)} labelled turns were set aside by another step: not counted")
    if given.misses:
        misses(halves["seen"])
    got = figures(everything)
    good = got.precision >= PRECISION and got.recall >= RECALL
    print(f"{'ok' if good else 'MISS'}: wanted precision >= {PRECISION} and recall >= {RECALL}")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
