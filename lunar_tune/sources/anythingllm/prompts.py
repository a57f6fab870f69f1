"""Which prompt an AnythingLLM workspace had at a moment."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from typing import Any

from lunar_tune.artefacts import Verdict
from lunar_tune.seams import Report
from lunar_tune.sources import base
from lunar_tune.sources.core import cells


class Prompts:
    """The present prompts and the replaced ones, each with the moment at which it was replaced."""

    def __init__(self, db: sqlite3.Connection, report: Report) -> None:
        self.report = report
        self.present: dict[Any, str] = {}
        self.replaced: dict[Any, list[tuple[str, str]]] = {}
        self.embeds: dict[Any, Any] = {}
        names: dict[Any, list[Any]] = {}
        if base.has(db, "workspaces", "id"):
            query = f"SELECT id, {base.picked(db, 'workspaces', ('name', 'openAiPrompt'))} FROM workspaces"
            for key, name, prompt in db.execute(query):
                self.present[key] = cells.text(prompt) or ""
                names.setdefault(cells.text(name), []).append(key)
        if base.has(db, "embed_configs", "id", "workspace_id"):
            self.embeds = dict(db.execute("SELECT id, workspace_id FROM embed_configs"))
        self._history(db)
        self._events(db, {name: keys[0] for name, keys in names.items() if len(keys) == 1})
        for changes in self.replaced.values():
            changes.sort(key=lambda change: change[0])

    def at(self, workspace: Any, moment: str | None) -> str | None:
        """Return the prompt that was in force; the present one where the moment is unknown."""
        changes = self.replaced.get(workspace, []) if moment else []
        after = bisect_right(changes, _comparable(moment or ""), key=lambda change: change[0])
        prompt = changes[after][1] if after < len(changes) else self.present.get(workspace)
        return prompt if prompt and prompt.strip() else None

    def of_embed(self, embed: Any) -> Any:
        """Return the workspace behind an embedded widget, None for one that is gone."""
        return self.embeds.get(embed)

    def _history(self, db: sqlite3.Connection) -> None:
        if not base.has(db, "prompt_history", "workspaceId", "prompt", "modifiedAt"):
            return
        for rowid, workspace, prompt, at in db.execute(
            "SELECT rowid, workspaceId, prompt, modifiedAt FROM prompt_history ORDER BY rowid"
        ):
            self._take(workspace, prompt, at, f"prompt_history.rowid={rowid}")

    def _events(self, db: sqlite3.Connection, workspaces: dict[Any, Any]) -> None:
        """Take the changes away from the default prompt, which the history leaves out."""
        if not base.has(db, "event_logs", "event", "metadata", "occurredAt"):
            return
        query = "SELECT rowid, metadata, occurredAt FROM event_logs WHERE event = 'workspace_prompt_changed'"
        for rowid, metadata, at in db.execute(query + " ORDER BY rowid"):
            place = f"event_logs.metadata={rowid}"
            try:
                change = cells.mapping(cells.parse_json(metadata))
            except ValueError:
                self.report(Verdict("", "read", "unreadable change of a prompt", place))
                continue
            name = change.get("workspaceName")
            if isinstance(name, str) and name in workspaces:
                self._take(workspaces[name], change.get("prevSystemPrompt"), at, place)

    def _take(self, workspace: Any, prompt: Any, at: Any, place: str) -> None:
        moment = cells.timestamp(at)
        if moment is None or not isinstance(prompt, str):
            self.report(Verdict("", "read", "unreadable change of a prompt", place))
            return
        self.replaced.setdefault(workspace, []).append((_comparable(moment), cells.text(prompt) or ""))


def _comparable(moment: str) -> str:
    """Return a moment that sorts as text, with milliseconds or without."""
    return moment.rstrip("Z")
