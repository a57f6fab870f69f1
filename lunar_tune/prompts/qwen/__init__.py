"""The Qwen family: ChatML with <tools> and <tool_call> (README.md in this folder), in three kinds.

`qwen` is Qwen2 and 2.5, `qwen3` the hybrid Qwen3 in its mode without thinking, `qwen3-instruct` the Qwen3 that has no
thinking mode (2507).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files

from lunar_tune.artefacts import Reply
from lunar_tune.chatml import WireMessage, WireTool
from lunar_tune.prompts.base import TemplatePrompt
from lunar_tune.prompts.llama3.parse import parse_tagged
from lunar_tune.prompts.normalise import Change, Normalised, normalise

RENDERING = 1  # raised when this folder's code changes the text made of the same messages
SPECIAL = (
    "endoftext|>", "im_start|>", "im_end|>", "object_ref_start|>", "object_ref_end|>", "box_start|>", "box_end|>",
    "quad_start|>", "quad_end|>", "vision_start|>", "vision_end|>", "vision_pad|>", "image_pad|>", "video_pad|>",
    "fim_prefix|>", "fim_middle|>", "fim_suffix|>", "fim_pad|>", "repo_name|>", "file_sep|>",
)  # fmt: skip
STOPS = ("<|im_end|>", "<|endoftext|>", "<|im_start|>")
USUAL_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."  # Qwen2.5's own, without another
NO_THOUGHT = "<think>\n\n</think>\n\n"  # what Qwen3's template writes for `enable_thinking=False`
KINDS = {"qwen": (USUAL_SYSTEM, ""), "qwen3": ("", NO_THOUGHT), "qwen3-instruct": ("", "")}
_SPECIAL = re.compile(r"<\|(?=" + "|".join(map(re.escape, SPECIAL)) + ")")
_THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)


def qwen(kind: str, call_key: str) -> TemplatePrompt:
    """Return the prompt of a kind of `KINDS`; `call_key` names a call's arguments."""
    usual_system, before_answer = KINDS[kind]
    template = _resource("chat.jinja")
    values = {"call_key": call_key, "usual_system": usual_system, "before_answer": before_answer.replace("\n", "\\n")}
    for name, value in values.items():
        usual = "arguments" if name == "call_key" else ""
        template = template.replace(f'set {name} = "{usual}"', f'set {name} = "{value}"', 1)
    go_template = _resource("chat.gotmpl").removesuffix("\n").replace('"arguments"', f'"{call_key}"')
    return TemplatePrompt(
        family=kind,
        style="tagged",
        template=template,
        go_template=go_template.replace("USUAL_SYSTEM", usual_system).replace("BEFORE_ANSWER", before_answer),
        stops=STOPS,
        begin="",
        end="<|im_end|>",
        normalise=_without_thoughts,
        reader=parse,
        plain=plain,
        rendering=RENDERING,
    )


def plain(text: str) -> tuple[str, int]:
    """Return a text with a space put into every special token written in it, as the template does, and their number."""
    return _SPECIAL.subn("<| ", text)


def parse(text: str, tools: Sequence[WireTool]) -> Reply:
    """Read what a Qwen wrote: a thought at the beginning is left out, then as `parse_tagged`."""
    thought = _THOUGHT.match(text)
    return parse_tagged(text[thought.end() :] if thought else text, tools)


def _without_thoughts(messages: Sequence[WireMessage], tools: Sequence[WireTool]) -> Normalised:
    """Return the usual shape without the thoughts that answers begin with: Qwen's template drops them from history."""
    shape = normalise(messages, tools)
    changes = list(shape.changes)
    shaped: list[WireMessage] = []
    for message, turn in zip(shape.messages, shape.turns, strict=True):
        thought = _THOUGHT.match(message["content"]) if message["role"] == "assistant" else None
        if thought is not None:
            message = {**message, "content": message["content"][thought.end() :]}
            changes.append(Change("content", turn, "a thought before the answer"))
        shaped.append(message)
    return replace(shape, messages=shaped, changes=tuple(changes))


def _resource(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
