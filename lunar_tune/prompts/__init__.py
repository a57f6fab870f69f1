"""How a conversation becomes text, one folder a model family.

Training, serving and reading answers are three views of the same prompt.
`load_prompt` gives the prompt of the settings; `lunar_tune.seams.Prompt` says what it can do.
"""

from __future__ import annotations

from lunar_tune.errors import BaseError
from lunar_tune.prompts.base import TemplatePrompt
from lunar_tune.prompts.llama3 import llama3
from lunar_tune.settings import PromptSettings

FAMILIES = {"llama3": llama3}
MODEL_TYPES = {"llama": "llama3"}  # config.json's model_type -> family


def load_prompt(settings: PromptSettings, model_type: str = "llama") -> TemplatePrompt:
    """Return the prompt of `settings`; family `auto` is chosen by `model_type`, the base's own word in config.json.

    Raises:
        BaseError: no family for this model type.
    """
    family = MODEL_TYPES.get(model_type) if settings.family == "auto" else settings.family
    if family not in FAMILIES:
        raise BaseError(
            f"There is no prompt family for model type {model_type!r} (families: {', '.join(FAMILIES)}).",
            "Choose a Llama 3 base with --base, or name the family under [prompt] in lunar.toml.",
        )
    return FAMILIES[family](settings.style, settings.call_key)
