"""What a base model is: where it lies, what it is called by content, how its weights are packed, how large it is."""

from lunar_tune.bases.find import (
    Base,
    JsonTokenizer,
    base_here,
    find_base,
    load_tokenizer,
    model_type,
    steps_to_get,
    tokenizer_here,
)
from lunar_tune.bases.packed import Packing, original_of, packing_of, require_reader, too_small

__all__ = [
    "Base",
    "JsonTokenizer",
    "Packing",
    "base_here",
    "find_base",
    "load_tokenizer",
    "model_type",
    "original_of",
    "packing_of",
    "require_reader",
    "steps_to_get",
    "tokenizer_here",
    "too_small",
]
