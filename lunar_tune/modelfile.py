"""The Modelfile of a version, and the same content as fields of Ollama's `POST /api/create`, which loses nothing.

Grammar: ollama's parser/parser.go. A text that the Modelfile cannot carry unchanged is left out of it, with a comment
that says why and `modelfile_problems` to ask beforehand; what is written parses back to exactly what was meant.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from lunar_tune.errors import ExportError

NATIVE = "0.30.0"
"""The first Ollama that renders with the GGUF's own Jinja template; without a Go template none before it will do."""
INTEGERS = frozenset(
    (
        *("num_ctx", "num_batch", "num_gpu", "num_thread", "num_keep", "seed", "num_predict", "draft_num_predict"),
        *("top_k", "repeat_last_n", "main_gpu"),
    )
)
NUMBERS = frozenset(
    ("top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty")
)
SWITCHES = frozenset(("use_mmap",))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_BOS = "<|begin_of_text|>"
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class ModelfileProblem:
    """An instruction that the Modelfile cannot carry and why; `reason` holds nothing of the text but a code point."""

    instruction: str
    reason: str

    def __str__(self) -> str:
        return f"{self.instruction} is left out: {self.reason}"


def modelfile_problems(
    *, go_template: str | None, system: str | None, stops: Sequence[str] = ()
) -> list[ModelfileProblem]:
    """Return which of these texts a Modelfile would change, and why; Ollama's API takes them all."""
    texts = [("TEMPLATE", go_template or ""), ("SYSTEM", system or ""), *(("PARAMETER stop", stop) for stop in stops)]
    return [ModelfileProblem(name, reason) for name, text in texts if (reason := _loss(text))]


def render_modelfile(
    *,
    gguf_name: str,
    go_template: str | None = None,
    system: str | None = None,
    stops: Sequence[str] = (),
    parameters: Mapping[str, str | int | float] | None = None,
    comments: Sequence[str] = (),
    family: str = "llama3",
) -> str:
    """Return the Modelfile that lies beside the GGUF `gguf_name`.

    Without `go_template` the server uses the GGUF's own template and must be `NATIVE` or newer. Texts that cannot be
    carried (`modelfile_problems`) are left out, each with a comment.

    Raises:
        ExportError: a file name, parameter or stop that Ollama would not understand, or a BOS in the template.
    """
    import jinja2

    if not _NAME.fullmatch(gguf_name):
        raise ExportError(f"{gguf_name!r} cannot stand in a Modelfile.", "Use letters, digits, '.', '_', '+' and '-'.")
    content = modelfile_request(go_template=go_template, system=system, stops=stops, parameters=parameters)
    problems = modelfile_problems(go_template=go_template, system=system, stops=stops)
    left_out = {problem.instruction for problem in problems}
    template = content.get("template") if "TEMPLATE" not in left_out else None
    plain = [(name, _number(value)) for name, value in content["parameters"].items() if name != "stop"]
    quoted = [("stop", _quote(stop)) for stop in stops if not _loss(stop)]
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        undefined=jinja2.StrictUndefined,
    )
    return environment.from_string(_source(family)).render(
        comments=list(_lines([*comments, *(f"{problem}; Ollama's API can carry it" for problem in problems)])),
        gguf_name=gguf_name,
        requires="" if template else NATIVE,
        template=template,
        system=content.get("system") if "SYSTEM" not in left_out else None,
        parameters=plain + quoted,
    )


def modelfile_request(
    *,
    go_template: str | None = None,
    system: str | None = None,
    stops: Sequence[str] = (),
    parameters: Mapping[str, str | int | float] | None = None,
) -> dict[str, Any]:
    """Return the same content as fields of `POST /api/create`, which the caller adds `model` and `files` to.

    Parameters have the JSON types that Ollama wants: it checks them only at the first chat.

    Raises:
        ExportError: an unknown parameter or one of the wrong type, an empty stop, or a BOS in the template.
    """
    if go_template and _BOS in go_template:
        raise ExportError(
            f"The Go template holds {_BOS}, which the server adds itself.", "Take it out of the template."
        )
    if not all(stops):
        raise ExportError("A stop text is empty, which would end every answer at once.")
    checked: dict[str, Any] = {name: _typed(name, value) for name, value in (parameters or {}).items()}
    if stops:
        checked["stop"] = list(stops)
    fields: dict[str, Any] = {"parameters": checked}
    if go_template:
        fields["template"] = go_template
    else:
        fields["requires"] = NATIVE
    if system:
        fields["system"] = system
    return fields


def _typed(name: str, value: Any) -> int | float | bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in SWITCHES and isinstance(value, bool):
        return value
    if name in INTEGERS and number and isinstance(value, int):
        return value
    if name in NUMBERS and number and math.isfinite(value):
        return float(value)
    kinds = {"a whole number": INTEGERS, "a number": NUMBERS, "true or false": SWITCHES}
    wanted = next((kind for kind, names in kinds.items() if name in names), "")
    if wanted:
        raise ExportError(f"Ollama's parameter {name!r} must be {wanted}, not {value!r}.")
    raise ExportError(f"Ollama knows no parameter {name!r}.", "Stop texts are passed as `stops`.")


def _number(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _quote(text: str) -> str:
    return f'"""{text}"""' if '"' in text or _LINE_END.search(text) else f'"{text}"'


def _loss(text: str) -> str:
    """Return why a triple-quoted text would not come back unchanged, empty when it would."""
    lines = _LINE_END.split(text)
    for number, line in enumerate(lines, 1):
        dropped = next((character for character in line if not _is_print(character)), None)
        if dropped is not None:
            return f"line {number} holds U+{ord(dropped):04X}, which a Modelfile drops"
        if number < len(lines) and line.rstrip(" \t").endswith('"""'):
            return f"line {number} ends with three quotes, which would end the text there"
    return ""


def _is_print(character: str) -> bool:
    """Tell whether Go's strconv.IsPrint holds, or the parser keeps the character as white space (a tab).

    By Python's Unicode tables: of characters newer than either side's tables the two may think differently.
    """
    return character in " \t" or unicodedata.category(character)[0] in "LMNPS"


def _lines(comments: Sequence[str]) -> Iterator[str]:
    for comment in comments:
        yield from _LINE_END.split(comment)


def _source(family: str) -> str:
    """Return a family's Modelfile source: in the wheel inside the package, in a checkout beside it."""
    packed = files("lunar_tune") / "_modelfiles" / f"{family}.j2"
    beside = Path(__file__).resolve().parents[1] / "modelfiles" / f"{family}.j2"
    return (packed if packed.is_file() else beside).read_text(encoding="utf-8")
