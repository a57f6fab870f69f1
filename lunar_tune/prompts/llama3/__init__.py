"""The Llama 3 family: Meta's header tokens, and two ways to write tools and calls (README.md in this folder)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

from lunar_tune.chatml import WireMessage, WireTool
from lunar_tune.prompts.base import TemplatePrompt
from lunar_tune.prompts.llama3.parse import parse_meta, parse_tagged
from lunar_tune.prompts.normalise import Normalised, normalise, one_call_a_turn

RENDERING = 1  # raised when this folder's code changes the text made of the same messages
SPECIAL = (
    "begin_of_text|>", "end_of_text|>", "finetune_right_pad_id|>", "step_id|>", "start_header_id|>", "end_header_id|>",
    "eom_id|>", "eot_id|>", "python_tag|>", "image|>", "reserved_special_token_",
)  # fmt: skip
STOPS = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|start_header_id|>")
_SPECIAL = re.compile(r"<\|(?=" + "|".join(map(re.escape, SPECIAL)) + ")")
_KEY = 'set call_key = "arguments"'


def llama3(style: str, call_key: str) -> TemplatePrompt:
    """Return the prompt in a style (`tagged` or `meta`); `call_key` names a call's arguments in the tagged style."""
    tagged = style == "tagged"
    template = _resource(f"{style}.jinja")
    go_template = _resource(f"{style}.gotmpl")
    if tagged:
        template = template.replace(_KEY, f'set call_key = "{call_key}"', 1)
        go_template = go_template.replace('"arguments"', f'"{call_key}"')
    return TemplatePrompt(
        family="llama3",
        style=style,
        template=template,
        go_template=go_template,
        stops=STOPS,
        begin="<|begin_of_text|>",
        end="<|eot_id|>",
        normalise=normalise if tagged else _one_call_a_turn,
        reader=parse_tagged if tagged else parse_meta,
        plain=plain,
        rendering=RENDERING,
    )


def plain(text: str) -> tuple[str, int]:
    """Return a text with a space put into every special token written in it, as the templates do, and their number."""
    return _SPECIAL.subn("<| ", text)


def _one_call_a_turn(messages: Sequence[WireMessage], tools: Sequence[WireTool]) -> Normalised:
    return one_call_a_turn(normalise(messages, tools))


def _resource(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
