"""The system prompt that is trained with: the log's own, a shorter one, or none.

With a shorter one, training and validation rows have it in place of the log's, and what the long prompt says today is
in the weights tomorrow. Test rows keep the full prompt, which is what the base is asked with, and name in `meta.system`
the one that the tuned model is asked and served with ("" is none). A row that has no prompt gets none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Row, Split
from lunar_tune.chatml import WireMessage
from lunar_tune.dataset.tables import at_home
from lunar_tune.errors import SettingsError
from lunar_tune.identity import plain_json

KEEP, DROP = "keep", "drop"


def trained_system(setting: str) -> str | None:
    """Return the prompt to train with: None for the log's own, "" for none.

    Raises:
        SettingsError: the setting is empty, or names a file that cannot be read or is no text.
    """
    if setting == KEEP:
        return None
    if setting == DROP:
        return ""
    text = setting
    if (path := _file(setting)) is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SettingsError(["dataset.system names a file that is not UTF-8 text"], str(path)) from error
        except OSError as error:
            raise SettingsError(["dataset.system names a file that cannot be read"], str(path)) from error
    if not text.strip():
        raise SettingsError(["dataset.system is empty; drop leaves the prompt out"], "dataset.system")
    return text.strip()


def told_system(setting: str, trained: str | None) -> str:
    """Return the setting as it may be written: a file's path, the home folder as `~`, or the text trained with."""
    if not trained:
        return setting
    return trained if _file(setting) is None else at_home(setting)


def _file(setting: str) -> Path | None:
    """Return the file that a setting names, None for a text; os.path, because pathlib raises on most long texts."""
    path = os.path.expanduser(setting)
    return Path(path) if os.path.isfile(path) else None


def with_system(row: Row, split: Split, trained: str | None) -> Row:
    """Return a row as its split has it when `trained` is the prompt to train with."""
    if trained is None or not _has_prompt(row):
        return row
    if split == "test":
        return {**row, "meta": {**row["meta"], "system": trained}}
    return {**row, "messages": replaced(row["messages"], trained)}


def as_trained(row: Row) -> Row:
    """Return a row with the prompt that was trained with: a test row that names it has another one."""
    trained = (row.get("meta") or {}).get("system")
    return row if trained is None or not _has_prompt(row) else {**row, "messages": replaced(row["messages"], trained)}


def spared(row: Row, trained: str | None) -> int:
    """Return how many bytes of a row's line `trained` as the prompt saves; below 0 where it is the longer one."""
    if trained is None or not _has_prompt(row):
        return 0
    first = row["messages"][:1]
    return len(plain_json(first)) - len(plain_json(replaced(first, trained)))


def _has_prompt(row: Row) -> bool:
    return bool(row["messages"]) and row["messages"][0]["role"] == "system"


def replaced(messages: list[WireMessage], system: str) -> list[WireMessage]:
    """Return messages with another system prompt at their head, "" for none."""
    head: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    return [*head, *messages[1:]]
