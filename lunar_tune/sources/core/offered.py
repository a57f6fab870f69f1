"""The tools that the user gives for conversations whose log stores none.

Nothing is inferred here: curation infers schemas from the calls of a whole log (`lunar_tune.curate.toolcalls`). Of one
conversation's calls alone they would differ from one conversation to the next and say which tool comes. So a call of a
tool that is neither stored nor given stays what it is, a fault that curation names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lunar_tune.episodes import Episode, ToolSpec
from lunar_tune.errors import UsageError
from lunar_tune.sources.core import cells

FORM = (
    'A list such as [{"type": "function", "function": {"name": …, "description": …, "parameters": {…}}}], as it is '
    "sent to the model, with or without that envelope."
)


def given_tools(path: str | None) -> tuple[ToolSpec, ...]:
    """Return the tools of a JSON file, none without a path.

    Raises:
        UsageError: there is no such file, or it is no JSON list of tools.
    """
    if not path:
        return ()
    where = f"harvest.tools names {path!r}"
    try:
        listed = cells.parse_json(Path(path).expanduser().read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{where}, which cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise UsageError(f"{where}, which is no JSON: {error}.", FORM) from error
    if not isinstance(listed, list):
        raise UsageError(f"{where}, which is no list of tools.", FORM)
    for number, tool in enumerate(listed, 1):
        problem = _problem(tool)
        if problem:
            raise UsageError(f"{where}, whose tool {number} of {len(listed)} {problem}.", FORM)
    specs, _ = cells.tool_specs(listed)
    if len(specs) != len(listed):
        raise UsageError(f"{where}, which has two tools of one name.", FORM)
    return tuple(specs)


def _problem(tool: object) -> str:
    """Return what is wrong with a tool, "" when nothing is."""
    body = tool.get("function", tool) if isinstance(tool, dict) else None
    if not isinstance(body, dict):
        return "is no object"
    if not isinstance(body.get("name"), str) or not body["name"]:
        return "has no name"
    if not isinstance(body.get("description") or "", str):
        return "has a description that is no text"
    for key in ("parameters", "input_schema", "inputSchema"):
        if not isinstance(body.get(key) or {}, dict):
            return f"has {key} that are no JSON schema"
    return ""


def with_tools(episode: Episode, given: Sequence[ToolSpec]) -> Episode:
    """Return the episode with the given tools where its log stored none; those that are stored stay as they are."""
    return replace(episode, tools=tuple(given)) if given and not episode.tools else episode
