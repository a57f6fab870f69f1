"""What we render parses back, by Ollama's grammar, to exactly what we meant."""

import os
import shutil
import string
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lunar_tune import modelfile
from lunar_tune.errors import ExportError
from lunar_tune.modelfile import NATIVE, ModelfileProblem, modelfile_problems, modelfile_request, render_modelfile

COMMANDS = {"from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message"}
COMMANDS |= {"requires"}


@dataclass
class Command:
    name: str
    value: str


class ModelfileError(Exception):
    """The grammar says no."""


def parse_modelfile(text: str) -> list[Command]:
    """The state machine of ollama's parser.go: values, parameters, comments (MESSAGE is never rendered)."""
    commands: list[Command] = []
    state, buffer, name = "nil", "", ""
    for rune in text:
        following, kept = _next(rune, state)
        if following != state:
            if state == "name":
                word = buffer.lower()
                if word not in COMMANDS:
                    raise ModelfileError(f"command must be one of …, not {word!r}")
                if word == "parameter":
                    following = "parameter"
                else:
                    name = "model" if word == "from" else word
            elif state == "parameter":
                name = buffer
            elif state == "value":
                value = _unquote(_trim(buffer))
                if value is None or rune in " \t":
                    buffer += rune
                    continue
                commands.append(Command(name, value))
            buffer, state = "", following
        if kept and go_is_print(kept):
            buffer += kept
    if state == "value":
        value = _unquote(_trim(buffer))
        if value is None:
            raise ModelfileError("unexpected EOF")
        commands.append(Command(name, value))
    elif state not in ("nil", "comment"):
        raise ModelfileError("unexpected EOF")
    if not any(command.name == "model" for command in commands):
        raise ModelfileError("no FROM line")
    return commands


def _next(rune: str, state: str) -> tuple[str, str]:
    space, newline = rune in " \t", rune in "\r\n"
    letter = rune in string.ascii_letters
    if state == "nil":
        return ("comment", "") if rune == "#" else ("nil", "") if space or newline else ("name", rune)
    if state == "comment":
        return ("nil", "") if newline else ("comment", "")
    if state == "value":
        return ("nil", rune) if space or newline else ("value", rune)
    if letter or (state == "parameter" and (rune in string.digits or rune == "_")):
        return state, rune
    if space:
        return "value", ""
    raise ModelfileError("invalid command")


def _unquote(text: str) -> str | None:
    if text.startswith('"""'):
        return text[3:-3] if len(text) >= 6 and text.endswith('"""') else None
    if text.startswith('"'):
        return text[1:-1] if len(text) >= 2 and text.endswith('"') else None
    return text


def _trim(text: str) -> str:
    return text.strip("\t\n\v\f\r \x85\xa0")


def go_is_print(rune: str) -> bool:
    return rune == " " or unicodedata.category(rune)[0] in "LMNPS"


def values(text: str, name: str) -> list[str]:
    return [command.value for command in parse_modelfile(text) if command.name == name]


CHARACTERS = [*'"""""" \t\n\r#abZ09{}<|>.:-_\\', *"é東🙂\u200d\xa0\u2028\xad\x00"]
NASTY = st.text(st.sampled_from(CHARACTERS))
TEXTS = NASTY | st.text()


@given(TEXTS)
@example('def f():\n    """Says hi."""\n    return 1')
@example('"""\n')
@example('""\n"')
@example('"')
@example('ends with quotes"""')
@example('x"""  \ny')
@example('x"""\ry')
@example("emoji 👩\u200d👩\u200d👧")
def test_a_system_prompt_comes_back_unchanged_or_is_left_out_with_a_reason(system: str) -> None:
    rendered = render_modelfile(gguf_name="m.gguf", system=system, stops=["<|eot_id|>"])
    problems = modelfile_problems(go_template=None, system=system)
    assert values(rendered, "system") == ([] if problems or not system else [system])
    assert values(rendered, "model") == ["./m.gguf"]
    assert values(rendered, "stop") == ["<|eot_id|>"]
    assert all(str(problem) in rendered for problem in problems)
    assert modelfile_request(system=system).get("system", "") == system


@given(TEXTS.filter(bool))
@example('""x')
@example('"')
@example('a"\n"b')
@example(" ")
def test_a_stop_text_comes_back_unchanged_or_is_left_out_with_a_reason(stop: str) -> None:
    rendered = render_modelfile(gguf_name="m.gguf", stops=["<|eot_id|>", stop])
    left_out = modelfile_problems(go_template=None, system=None, stops=[stop])
    assert values(rendered, "stop") == ["<|eot_id|>", *([] if left_out else [stop])]
    assert modelfile_request(stops=[stop])["parameters"]["stop"] == [stop]


@given(TEXTS.filter(lambda text: "<|begin_of_text|>" not in text))
@example("{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}{{ end }}\n")
def test_a_go_template_comes_back_unchanged_or_the_server_must_do_without(template: str) -> None:
    rendered = render_modelfile(gguf_name="m.gguf", go_template=template)
    carried = bool(template) and not modelfile_problems(go_template=template, system=None)
    assert values(rendered, "template") == ([template] if carried else [])
    assert values(rendered, "requires") == ([] if carried else [NATIVE])


@given(st.text(st.characters(categories=("L", "M", "N", "P", "S")) | st.sampled_from(" \t\n")).filter(bool))
def test_only_what_would_be_lost_is_left_out(system: str) -> None:
    """Ordinary text without a line-ending triple quote is never refused."""
    if '"""' not in system:
        assert not modelfile_problems(go_template=None, system=system)


@given(TEXTS)
def test_a_comment_says_nothing_to_the_server(comment: str) -> None:
    rendered = render_modelfile(gguf_name="m.gguf", comments=[comment])
    assert [command.name for command in parse_modelfile(rendered)] == ["model", "requires"]


def test_parameters_and_request_have_the_types_that_ollama_wants() -> None:
    content = {
        "go_template": "{{ .Prompt }}",
        "system": "Be brief.",
        "stops": ("<|eot_id|>", "<|eom_id|>"),
        "parameters": {"temperature": 0, "num_ctx": 4096, "top_p": 1e-05, "use_mmap": True, "seed": -1},
    }
    rendered = render_modelfile(gguf_name="lunar-custom.Q4_K_M.gguf", **content)
    found = {command.name: command.value for command in parse_modelfile(rendered)}
    assert found["temperature"] == "0.0"
    assert (found["num_ctx"], found["seed"], found["use_mmap"]) == ("4096", "-1", "true")
    assert float(found["top_p"]) == 1e-05
    request = modelfile_request(**content)
    assert request == {
        "template": "{{ .Prompt }}",
        "system": "Be brief.",
        "parameters": {
            "temperature": 0.0,
            "num_ctx": 4096,
            "top_p": 1e-05,
            "use_mmap": True,
            "seed": -1,
            "stop": ["<|eot_id|>", "<|eom_id|>"],
        },
    }
    assert isinstance(request["parameters"]["temperature"], float)


def test_without_a_go_template_the_server_must_read_the_ggufs_own() -> None:
    assert modelfile_request()["requires"] == NATIVE
    assert values(render_modelfile(gguf_name="m.gguf"), "requires") == [NATIVE]
    assert values(render_modelfile(gguf_name="m.gguf", go_template="{{ .Prompt }}"), "requires") == []


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"num_ctxt": 4096}, "knows no parameter 'num_ctxt'"),
        ({"num_ctx": 4096.0}, "'num_ctx' must be a whole number"),
        ({"num_ctx": "4096"}, "'num_ctx' must be a whole number"),
        ({"num_ctx": True}, "'num_ctx' must be a whole number"),
        ({"temperature": float("nan")}, "'temperature' must be a number"),
        ({"use_mmap": 1}, "'use_mmap' must be true or false"),
        ({"stop": "<|eot_id|>"}, "knows no parameter 'stop'"),
        ({"mirostat": 1}, "knows no parameter 'mirostat'"),
    ],
)
def test_a_parameter_that_ollama_would_drop_or_choke_on_is_refused(parameters: dict, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        render_modelfile(gguf_name="m.gguf", parameters=parameters)


@pytest.mark.parametrize("name", ["a b.gguf", "../m.gguf", "m.gguf\nSYSTEM x", "", "~m.gguf", 'm".gguf'])
def test_a_file_name_that_from_would_misread_is_refused(name: str) -> None:
    with pytest.raises(ExportError, match="cannot stand in a Modelfile"):
        render_modelfile(gguf_name=name)


def test_a_second_bos_and_an_empty_stop_are_refused() -> None:
    with pytest.raises(ExportError, match="the server adds itself"):
        render_modelfile(gguf_name="m.gguf", go_template="<|begin_of_text|>{{ .Prompt }}")
    with pytest.raises(ExportError, match="stop text is empty"):
        modelfile_request(stops=["<|eot_id|>", ""])


def test_the_reason_names_place_and_kind_but_no_text() -> None:
    problems = modelfile_problems(go_template=None, system='secret\nmore secret"""\nx', stops=["\u200b"])
    assert problems == [
        ModelfileProblem("SYSTEM", "line 2 ends with three quotes, which would end the text there"),
        ModelfileProblem("PARAMETER stop", "line 1 holds U+200B, which a Modelfile drops"),
    ]


def test_the_template_is_found_inside_the_installed_package(tmp_path: Path) -> None:
    checkout = Path(modelfile.__file__).parents[1]
    package = tmp_path / "lunar_tune"
    package.mkdir()
    for name in ("__init__.py", "errors.py", "modelfile.py"):
        shutil.copy(checkout / "lunar_tune" / name, package)
    shutil.copytree(checkout / "modelfiles", package / "_modelfiles")
    code = "from lunar_tune.modelfile import render_modelfile as r; print(r(gguf_name='m.gguf', system='x'), end='')"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == render_modelfile(gguf_name="m.gguf", system="x")


def test_the_grammar_in_this_file_knows_the_known_traps() -> None:
    assert values("FROM x # not a comment\n", "model") == ["x # not a comment"]
    assert values('FROM x\nSYSTEM "one\ntwo"\n', "system") == ["one\ntwo"]
    assert values("FROM x\nSYSTEM a\u200db\n", "system") == ["ab"]
    assert values('FROM x\nPARAMETER stop "\\n"\n', "stop") == ["\\n"]
    for broken in ('SYSTEM "hi" he said\nFROM x\n', 'FROM x\nSYSTEM """a\n"""doc"""\nb"""\n', "SYSTEM x\n"):
        with pytest.raises(ModelfileError):
            parse_modelfile(broken)
