"""The shipped general prompts: what a base is asked for its own answers, which are rehearsed against forgetting."""

from __future__ import annotations

import json
from importlib.resources import files

from lunar_tune.chatml import WireMessage


def general_prompts() -> list[list[WireMessage]]:
    """Return the messages of every prompt, in order; none of them is a probe."""
    text = (files("lunar_tune.dataset") / "general_prompts.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["messages"] for line in text.splitlines()]
