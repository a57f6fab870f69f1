"""What training, judging and export stand on: the base, its full-precision weights, its prompt and its tokenizer.

All of it is asked for before any work: a night must not end with an adapter that nothing can be exported from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lunar_tune.errors import BaseError, BaseMissing, BaseNotExportable
from lunar_tune.seams import Prompt, Tokenizer
from lunar_tune.settings import Settings
from lunar_tune.workflow.space import Workspace

if TYPE_CHECKING:
    from lunar_tune.bases import Base


@dataclass(frozen=True)
class Ground:
    """A base to train on and what belongs to it; `whole` are the weights to export with, mostly the base itself."""

    base: Base
    prompt: Prompt
    tokenizer: Tokenizer
    whole: Base


def ground(space: Workspace) -> Ground:
    """Find the base and make sure, before any work, that what is trained on it can be shipped.

    Raises:
        BaseMissing, BaseNotExportable.
        BaseError: its weights are packed and the full-precision ones are not known, or are those of another model.
    """
    from lunar_tune.bases import find_base, load_tokenizer
    from lunar_tune.export.gguf import check_exportable
    from lunar_tune.prompts import prompt_of

    base = find_base(space.settings.train.base)
    whole = _whole(space.settings, base)
    if problems := check_exportable(whole.path):
        raise BaseNotExportable(whole.name, problems)
    return Ground(base, prompt_of(space.settings.prompt, base.path, base.model_type), load_tokenizer(base.path), whole)


def whole_name(settings: Settings, base: Base) -> str | None:
    """Return the name of the weights to export with where they are not the base's own, None where they are.

    Raises:
        BaseError: the base is packed, and nothing says what it was packed from.
    """
    from lunar_tune.bases import original_of, packing_of

    packing = packing_of(base.config)
    if settings.export.base or packing is None:
        return settings.export.base
    name = original_of(base.name)
    if name is None:
        raise BaseError(
            f"The base {base.name!r} is packed ({packing}): it can be trained on, but cannot be exported; that needs "
            "the full-precision weights it was made of, which its name does not tell.",
            "Name their folder or repository: --set export.base=PATH, or `base` under [export] in lunar.toml. Nothing "
            "was trained.",
        )
    return name


def require_trainable(space: Workspace, on: Ground, trainer: str) -> None:
    """Make sure that a trainer reads the base as it is packed.

    Raises:
        BaseError: it does not, or it is to be packed a second time.
        MissingExtra: the library that reads it is not installed.
    """
    from lunar_tune.bases import packing_of, require_reader

    packing, wanted = packing_of(on.base.config), space.settings.train.quantize_base
    if packing is None:
        return
    require_reader(on.base.name, packing, trainer)
    if wanted != "none":
        raise BaseError(
            f"The base {on.base.name!r} is packed already ({packing}); it cannot be packed into {wanted} too.",
            'Set train.quantize_base = "none".',
        )


def _whole(settings: Settings, base: Base) -> Base:
    from lunar_tune.bases import find_base, packing_of
    from lunar_tune.export.same import differences

    name = whole_name(settings, base)
    if name is None:
        return base
    try:
        whole = find_base(name)
    except BaseMissing as error:
        packing = packing_of(base.config)
        kind = f" is packed ({packing}) and" if packing else ""
        error.message = f"The base {base.name!r}{kind} is exported with the weights of {name!r}. {error.message}"
        error.hint = f"{error.hint} Or name a copy of them: --set export.base=PATH. Nothing was trained."
        raise
    if found := differences(base.path, whole.path):
        raise BaseError(
            f"{name!r} cannot be exported with what is trained on {base.name!r}: {'; '.join(found)}.",
            "Set export.base to the full-precision weights that the base was made of.",
        )
    return whole
