"""The system prompt that is trained with: the log's own, a shorter one, or none.

With a shorter one, training and validation rows have it in place of the log's, and what the long prompt says today is
in the weights tomorrow. Test rows keep the full prompt, which is what the base is asked with, and name in `meta.system`
the one that the tuned model is asked and served with ("" is none). A row that has no prompt gets none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lunar_tune.artefacts import Row, Split
from lunar_tune.chatml import WireMessage
from lunar_tune.errors import SettingsError

KEEP, DROP = "keep", "drop"


def trained_system(setting: str) -> str | None:
    """Return the prompt to train with: None for the log's own, "" for none.

    Raises:
        SettingsError: the setting names a file that is no text, or is empty.
    """
    if setting == KEEP:
        return None
    if setting == DROP:
        return ""
    text = setting
    if len(setting) < 1024 and "\n" not in setting and (path := Path(setting).expanduser()).is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SettingsError(["dataset.system names a file that is not UTF-8 text"], str(path)) from error
    if not text.strip():
        raise SettingsError(["dataset.system is empty; drop leaves the prompt out"], "dataset.system")
    return text.strip()


def with_system(row: Row, split: Split, trained: str | None) -> Row:
    """Return a row as its split has it when `trained` is the prompt to train with."""
    if trained is None or not row["messages"] or row["messages"][0]["role"] != "system":
        return row
    if split == "test":
        return {**row, "meta": {**row["meta"], "system": trained}}
    return {**row, "messages": replaced(row["messages"], trained)}


def replaced(messages: list[WireMessage], system: str) -> list[WireMessage]:
    """Return messages with another system prompt at their head, "" for none."""
    head: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    return [*head, *messages[1:]]
