"""How a conversation becomes text, one folder a model family.

Training, serving and reading answers are three views of the same prompt. `load_prompt` gives the prompt of the
settings, `prompt_of` that of a base's folder; `lunar_tune.seams.Prompt` says what it can do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lunar_tune.errors import BaseError
from lunar_tune.prompts.base import TemplatePrompt
from lunar_tune.prompts.llama3 import llama3
from lunar_tune.prompts.mistral import KINDS as MISTRALS
from lunar_tune.prompts.mistral import mistral
from lunar_tune.prompts.qwen import KINDS as QWENS
from lunar_tune.prompts.qwen import qwen
from lunar_tune.prompts.recognise import recognised
from lunar_tune.settings import PromptSettings

_TAGGED: dict[str, Callable[[str], TemplatePrompt]] = {
    **{kind: partial(mistral, kind) for kind in MISTRALS},
    **{kind: partial(qwen, kind) for kind in QWENS},
}
FAMILIES = ("llama3", *MISTRALS, *QWENS)
MODEL_TYPES = {"llama": "llama3", "mistral": "mistral", "qwen2": "qwen", "qwen3": "qwen3"}
"""config.json's model_type -> family, where nothing else of the base is known."""


def prompt_of(settings: PromptSettings, base: Path, model_type: str) -> TemplatePrompt:
    """Return the prompt of `settings` for a base's folder; with family `auto` its special tokens decide.

    `model_type` is config.json's word, which says the architecture and not how the model was taught to speak.

    Raises:
        BaseError: its tokenizer is that of no family here.
    """
    family: str = settings.family
    if family == "auto":
        found, why = recognised(base, MODEL_TYPES.get(model_type))
        if found is None:
            raise BaseError(
                f"There is no prompt family for the base {base.name!r}: {why} (families: {', '.join(FAMILIES)}).",
                "Choose a Llama 3, Mistral v3, Qwen2.5 or Qwen3 instruct model with --base, or name the family whose "
                "format it was taught under [prompt] in lunar.toml.",
            )
        family = found
    return _made(family, settings)


def load_prompt(settings: PromptSettings, model_type: str = "llama") -> TemplatePrompt:
    """Return the prompt of `settings`; family `auto` is chosen by `model_type` alone, where no base is at hand.

    Raises:
        BaseError: no family for this model type, or a style that the family has not.
    """
    family = MODEL_TYPES.get(model_type, "") if settings.family == "auto" else settings.family
    if family not in FAMILIES:
        raise BaseError(
            f"There is no prompt family for model type {model_type!r} (families: {', '.join(FAMILIES)}).",
            "Choose a Llama 3, Mistral or Qwen base with --base, or name the family under [prompt] in lunar.toml.",
        )
    return _made(family, settings)


def _made(family: str, settings: PromptSettings) -> TemplatePrompt:
    if family == "llama3":
        return llama3(settings.style, settings.call_key)
    if settings.style != "tagged":
        raise BaseError(
            f"The prompt family {family!r} has no style {settings.style!r}: that one is Llama 3's own.",
            'Set prompt.style = "tagged".',
        )
    return _TAGGED[family](settings.call_key)
