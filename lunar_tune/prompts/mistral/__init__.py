"""The Mistral family: [INST], [AVAILABLE_TOOLS], [TOOL_CALLS] and [TOOL_RESULTS] (README.md in this folder).

Two kinds that differ in white space alone: `mistral` for the v3 SentencePiece tokenizer, `mistral-tekken` for tekken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

from lunar_tune.artefacts import Reply
from lunar_tune.chatml import WireTool
from lunar_tune.prompts.base import TemplatePrompt
from lunar_tune.prompts.calls import SPACE, Unreadable, call_of, decode
from lunar_tune.prompts.normalise import normalise

RENDERING = 1  # raised when this folder's code changes the text made of the same messages
SQUARES = (
    "INST]", "/INST]", "AVAILABLE_TOOLS]", "/AVAILABLE_TOOLS]", "TOOL_CALLS]", "TOOL_RESULTS]", "/TOOL_RESULTS]",
    "SYSTEM_PROMPT]", "/SYSTEM_PROMPT]", "TOOL_CONTENT]", "CALL_ID]", "ARGS]", "THINK]", "/THINK]", "IMG]",
    "IMG_BREAK]", "IMG_END]", "PREFIX]", "MIDDLE]", "SUFFIX]", "AUDIO]", "BEGIN_AUDIO]", "control_",
)  # fmt: skip
ANGLES = ("s>", "/s>", "unk>", "pad>", "SPECIAL_")
STOPS = ("</s>", "[INST]")
CALLS = "[TOOL_CALLS]"
KINDS = {"mistral": " ", "mistral-tekken": ""}
_SPECIAL = re.compile(r"\[(?=" + "|".join(map(re.escape, SQUARES)) + ")|<(?=" + "|".join(map(re.escape, ANGLES)) + ")")


def mistral(kind: str, call_key: str) -> TemplatePrompt:
    """Return the prompt of a kind of `KINDS`; `call_key` names a call's arguments."""
    space = KINDS[kind]
    template = _resource("chat.jinja").replace('set call_key = "arguments"', f'set call_key = "{call_key}"', 1)
    go_template = _resource("chat.gotmpl").removesuffix("\n").replace('"arguments"', f'"{call_key}"')
    return TemplatePrompt(
        family=kind,
        style="tagged",
        template=template.replace('set space = " "', f'set space = "{space}"', 1),
        go_template=go_template.replace("SPACE", space),
        stops=STOPS,
        begin="<s>",
        end="</s>",
        normalise=normalise,
        reader=parse,
        plain=plain,
        rendering=RENDERING,
    )


def plain(text: str) -> tuple[str, int]:
    """Return a text with a space put into every special token written in it, as the template does, and their number."""
    return _SPECIAL.subn(lambda found: found.group() + " ", text)


def parse(text: str, tools: Sequence[WireTool]) -> Reply:
    """Read text, then `[TOOL_CALLS]` and a list of calls, or one call without the list. Never raises.

    All or nothing: when one call cannot be read, the whole text is the content and `problem` says why.
    """
    content, mark, rest = text.partition(CALLS)
    content = content.strip(SPACE)
    if not mark:
        return Reply(content)
    try:
        rest = rest.strip(SPACE)
        value, end = decode(rest)
        if rest[end:].strip(SPACE):
            raise Unreadable("text after a call")
        found = value if isinstance(value, list) else [value]
        if not found:
            raise Unreadable("a call without a name")
        return Reply(content, tuple(call_of(one, tools) for one in found))
    except Unreadable as why:
        return Reply(text.strip(SPACE), (), str(why), content)


def _resource(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
