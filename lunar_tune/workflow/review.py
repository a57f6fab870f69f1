"""What a dataset took of each conversation and why not the rest, beside what the owner decides about it.

The dataset has ids and reasons, the workspace's episodes have the texts (redacted): they are joined by id. A
conversation that the workspace no longer holds, or holds otherwise by now, is listed without its texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lunar_tune.artefacts import SPLITS, Dataset, Verdict
from lunar_tune.episodes import Episode, ToolSpec
from lunar_tune.errors import UsageError
from lunar_tune.files import read_jsonl
from lunar_tune.store.decisions import Action, Decision, Decisions, decisions_mark
from lunar_tune.workflow.space import Workspace, find_dataset

if TYPE_CHECKING:
    from lunar_tune.store.episodes import EpisodeStore

SHOWN = 12  # characters of a decision's key
TARGET = re.compile(r"(.+):(\d+)")
GONE = "no longer in the workspace: its log has lost or changed it since this dataset was made"


@dataclass(slots=True)
class Turn:
    """An assistant turn: its message's index, its key, and the verdict that the dataset has on it."""

    index: int
    key: str
    verdict: Verdict | None = None
    decision: Decision | None = None

    @property
    def learnt(self) -> bool:
        """Tell whether the dataset teaches it."""
        return self.verdict is None

    @property
    def barred(self) -> bool:
        """Tell whether keeping does not help: the turn is broken, or is learnt elsewhere."""
        from lunar_tune.curate.marks import STRUCTURAL

        return self.verdict is not None and self.verdict.step in STRUCTURAL - {"review"}

    @property
    def after(self) -> bool:
        """Tell whether the next harvest teaches it, as far as is known before it."""
        if self.decision is None:
            return self.learnt or (self.verdict is not None and self.verdict.step == "review")
        if self.decision.action == "edit" and self.verdict is not None and self.verdict.step == "turns":
            return True  # the edit is whole where the logged answer was not
        return self.decision.action != "drop" and not self.barred


@dataclass(slots=True)
class Item:
    """A conversation of a dataset: `split` is "" for one left out whole, `number` None for one whose text is gone."""

    id: str
    split: str = ""
    verdict: Verdict | None = None
    number: int | None = None
    thread: str = ""
    source: str = ""
    date: str = ""
    names: frozenset[bytes] = frozenset()
    turns: list[Turn] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Tell whether the dataset has a row of it."""
        return bool(self.split)

    def reasons(self) -> list[tuple[str, str]]:
        """Return (step, reason) of everything in it that is not learnt, the whole's first, each once."""
        verdicts = [self.verdict, *(turn.verdict for turn in self.turns)]
        return list(dict.fromkeys((one.step, one.reason) for one in verdicts if one is not None))

    def document(self) -> dict[str, Any]:
        """Return the form of `review --json`."""
        return {
            "id": self.id,
            "thread": self.thread,
            "date": self.date,
            "source": self.source,
            "split": self.split or None,
            "kept": self.kept,
            **({} if self.number is not None else {"missing": GONE}),
            **({} if self.verdict is None else {"step": self.verdict.step, "reason": self.verdict.reason}),
            "turns": [_turn_document(turn) for turn in self.turns],
        }


def _turn_document(turn: Turn) -> dict[str, Any]:
    told: dict[str, Any] = {"turn": turn.index, "learnt": turn.learnt, "after_next_harvest": turn.after}
    if turn.verdict is not None:
        told |= {"step": turn.verdict.step, "reason": turn.verdict.reason}
    return told | ({"decision": turn.decision.action} if turn.decision is not None else {})


class Reviewing:
    """A dataset under review: `items` in the order of their start; `newer` conversations are not in it yet."""

    def __init__(self, space: Workspace, episodes: EpisodeStore, dataset_id: str | None = None) -> None:
        self.dataset = find_dataset(space.home, dataset_id)
        self._curate = space.settings.curate
        self._talk, self._episodes, self._decisions = space.talk, episodes, Decisions(space.home)
        harvested = self.dataset.manifest["settings"].get("harvest", {})
        self._tools = tuple(ToolSpec(**tool) for tool in harvested.get("tools") or ())
        self._last: tuple[str, Episode | None] | None = None
        self.newer = 0
        found = _read(self.dataset)
        self.items = [*self._join(found), *(item for item in found.values() if item.number is None)]
        self.refresh()

    def _join(self, found: dict[str, Item]) -> Iterator[Item]:
        """Yield the items whose text is held, in its order, with what the episodes say of them."""
        from lunar_tune.curate.review import turn_keys
        from lunar_tune.sources.core.offered import with_tools

        logs, told = {path: path for path in self._episodes.logs()}, False
        for number, held in enumerate(self._episodes.episodes(logs)):
            if number % 1000 == 999:
                told = True
                self._talk.progress("reading conversations", min(number, len(found) - 1), len(found))
            item = found.get(with_tools(held.episode, self._tools).id)
            if item is None:
                self.newer += 1
            elif item.number is None:
                episode = held.episode
                item.number, item.names = held.number, held.names
                item.thread, item.source, item.date = episode.thread, episode.source, _date(episode)
                verdicts = {turn.index: turn.verdict for turn in item.turns}
                keys = turn_keys(episode.messages)
                item.turns = [Turn(i, key, verdicts.get(i) or item.verdict) for i, key in keys.items()]
                yield item
        if told:
            self._talk.progress("reading conversations", len(found), len(found))

    def refresh(self) -> None:
        """Read the decisions anew."""
        from lunar_tune.curate.review import decided

        by_key = {key: one for one in self._decisions.all() for key in one.keys}
        for item in self.items:
            found = decided({turn.index: turn.key for turn in item.turns}, item.thread, by_key) if by_key else {}
            for turn in item.turns:
                turn.decision = found.get(turn.index)

    def episode(self, item: Item) -> Episode | None:
        """Return the conversation of an item, redacted; None when the workspace does not hold it (any more)."""
        from lunar_tune.curate.review import turn_keys

        if self._last is not None and self._last[0] == item.id:
            return self._last[1]
        found = None if item.number is None else self._episodes.episode(item.number)
        same = found is not None and turn_keys(found.messages) == {turn.index: turn.key for turn in item.turns}
        self._last = (item.id, found if same else None)  # a harvest meanwhile may have changed what bears the number
        return self._last[1]

    def answer(self, item: Item, turn: Turn) -> str:
        """Return the text of a turn as it is to be learnt: that of an edit, else the logged one."""
        if turn.decision is not None and turn.decision.text is not None:
            return turn.decision.text
        episode = self.episode(item)
        return episode.messages[turn.index].content if episode else ""

    def holds(self, item: Item, text: str) -> bool:
        """Tell whether a text stands in a conversation, its name or its calls; case makes no difference."""
        wanted, episode = text.casefold(), self.episode(item)
        if wanted in item.id or wanted in item.thread.casefold():
            return True
        if episode is None:
            return False
        parts = (episode.system or "", *(message.content for message in episode.messages))
        calls = (f"{call.name} {call.arguments}" for message in episode.messages for call in message.tool_calls)
        return any(wanted in part.casefold() for part in (*parts, *calls))

    def find(self, target: str) -> tuple[Item, Turn | None]:
        """Return the conversation that `ID` or a thread's name means, and the turn that `:TURN` after it means.

        Raises:
            UsageError: there is none, there are several, or its text is gone.
        """
        match = TARGET.fullmatch(target)
        named = [item for item in self.items if target in (item.id, item.thread)]
        index = None
        if not named and match:
            named = [item for item in self.items if match[1] in (item.id, item.thread)]
            index = int(match[2])
        if not named:
            raise UsageError(f"{target!r} is no conversation of {self.dataset.id}.", "`lunar-tune review --json`")
        if len(named) > 1:
            raise UsageError(f"{target!r} names {len(named)} conversations.", "Name one by its id (`ep-…`).")
        item = named[0]
        if item.number is None:
            raise UsageError(f"{item.id} is {GONE}.", "Run `lunar-tune harvest`, then review the new dataset.")
        turn = next((turn for turn in item.turns if turn.index == index), None)
        if index is not None and turn is None:
            turns = ", ".join(str(turn.index) for turn in item.turns) or "none"
            raise UsageError(f"Message {index} of {item.id} is no turn of the assistant.", f"Its turns: {turns}.")
        return item, turn

    def decide(self, item: Item, turn: Turn | None, action: Action, text: str | None = None) -> Decision:
        """Decide about a turn, or with None about all turns of a conversation, and return the decision.

        Raises:
            UsageError: an edit without text, or a conversation without turns.
            WorkspaceBusy, DiskFull: nothing was changed.
        """
        turns = item.turns if turn is None else [turn]
        if not turns:
            raise UsageError(f"{item.id} has no turn to decide about.")
        if text is not None:
            text = self._edited(item, turns[0], text)
        decision = Decision(
            action=action,
            keys=tuple(one.key for one in turns),
            thread=item.thread,
            at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            until=turns[-1].key if turn is None else None,
            text=text,
            names=frozenset(name.hex() for name in item.names),
        )
        self._decisions.decide(decision)
        self.refresh()
        return decision

    def _edited(self, item: Item, turn: Turn, text: str) -> str:
        from lunar_tune.curate.review import safe_edit

        episode = self.episode(item)
        message = episode.messages[turn.index] if episode else None
        if not text.strip() and not (message and message.tool_calls):
            raise UsageError("An answer without a word cannot be learnt.", "`lunar-tune review --drop ID:TURN`")
        return safe_edit(text, episode, self._curate.names) if self._curate.redact and episode else text

    def undo(self, item: Item, turn: Turn | None) -> int:
        """Take back what was decided of a turn, or of all turns; return how many turns had a decision."""
        found = self._decisions.undo([one.key for one in (item.turns if turn is None else [turn])])
        self.refresh()
        return found

    def undo_key(self, key: str) -> int:
        """Take back the decision that goes by a key of `review --decisions`; return how many turns it was about."""
        named = [one for one in self._decisions.all() if one.keys[-1][:SHOWN] == key]
        found = self._decisions.undo([key for one in named for key in one.keys])
        self.refresh()
        return found


def listed_decisions(space: Workspace) -> list[dict[str, Any]]:
    """Return the decisions for `review --decisions`, oldest first; texts of edits are in them, redacted."""
    return [
        {
            "key": one.keys[-1][:SHOWN],
            "action": one.action,
            "thread": one.thread,
            "turns": len(one.keys),
            "whole": one.until is not None,
            "at": one.at,
            **({} if one.text is None else {"text": one.text}),
        }
        for one in Decisions(space.home).all()
    ]


def decided_mark(space: Workspace) -> str | None:
    """Return a content id of the decisions: a night depends on them."""
    return decisions_mark(Decisions(space.home).all())


def _read(dataset: Dataset) -> dict[str, Item]:
    """Return the items of a dataset by id, with its verdicts."""
    found: dict[str, Item] = {}
    for split in SPLITS:
        for row in read_jsonl(dataset.split(split)):
            meta = row["meta"]
            found[row["id"]] = Item(row["id"], split, None, None, meta["thread"], meta["source"], row["date"])
    for line in read_jsonl(Path(dataset.path) / "dropped.jsonl"):
        verdict = Verdict(line["id"], line["step"], line["reason"], line["detail"], line.get("message"))
        if not verdict.id.startswith("ep-"):
            continue  # a reader's, of what never became a conversation
        item = found.setdefault(verdict.id, Item(verdict.id))
        if verdict.message is not None:
            if all(turn.index != verdict.message for turn in item.turns):
                item.turns.append(Turn(verdict.message, "", verdict))
        elif not item.kept:  # a kept conversation was met again in another log
            item.verdict = item.verdict or verdict
    return found


def _date(episode: Episode) -> str:
    said = (message.created_at for message in episode.messages if message.created_at)
    return (episode.started_at or next(said, ""))[:10]
