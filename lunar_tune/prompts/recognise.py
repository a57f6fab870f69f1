"""Which family's format a base was taught: its special tokens say so, its architecture does not.

A Llama architecture carries other people's tokenizers too (ChatML, Zephyr, Mistral's), and would answer Llama 3's
headers with noise. Where a tokenizer has the tokens of two families, the base's own chat template decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NEEDED = {  # family -> special tokens without which its format cannot be written
    "llama3": ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "mistral": ("<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]"),
    "qwen": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
}
_WRITES = {"llama3": "<|start_header_id|>", "mistral": "[INST]", "qwen": "<|im_start|>"}  # in a chat template


def recognised(base: Path, usual: str | None) -> tuple[str | None, str]:
    """Return (family, "") of a base's folder, or (None, why not); `usual` is its architecture's, without a tokenizer.

    Reads tokenizer.json, tokenizer_config.json and chat_template.jinja.
    """
    tokenizer = _json(base / "tokenizer.json")
    if not tokenizer:
        return (usual, "") if usual else (None, "the folder has no tokenizer.json that can be read")
    tokens = {token.get("content") for token in tokenizer.get("added_tokens") or [] if isinstance(token, dict)}
    found = [family for family, needed in _NEEDED.items() if tokens.issuperset(needed)]
    template = _chat_template(base)
    written = [family for family in found if _WRITES[family] in template]
    if not found:
        missing = f"its tokenizer has the special tokens of none of {', '.join(_NEEDED)}"
        old = {"[INST]", "[/INST]"} & tokens and "[TOOL_CALLS]" not in tokens
        return None, f"{missing}; Mistral's v1 and v2 tokenizers know no tools" if old else missing
    if template and not written:
        return None, "its chat template writes none of the formats that its special tokens are for"
    if len(found) > 1 and len(written) != 1:
        return None, f"its tokenizer has the special tokens of {' and '.join(found)}, and no chat template tells which"
    family = written[0] if written else found[0]
    if family == "mistral":
        return ("mistral" if _is_sentencepiece(tokenizer) else "mistral-tekken"), ""
    if family == "qwen":
        return _qwen(usual, template), ""
    return family, ""


def _qwen(usual: str | None, template: str) -> str:
    """Tell Qwen2.5, the hybrid Qwen3 and the Qwen3 without thoughts apart: by the template, else by architecture."""
    if "<think>" in template:
        return "qwen3"
    if template:
        return "qwen3-instruct" if usual == "qwen3" else "qwen"
    return usual if usual in ("qwen", "qwen3") else "qwen"


def _is_sentencepiece(tokenizer: Mapping[str, Any]) -> bool:
    return bool((tokenizer.get("model") or {}).get("byte_fallback"))


def _chat_template(base: Path) -> str:
    file = base / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8", errors="replace")
    found = _json(base / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):  # several by name
        found = next((one.get("template") for one in found if one.get("name") == "default"), "")
    return found if isinstance(found, str) else ""


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
