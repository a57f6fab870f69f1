"""evaluate: a candidate, its base and the version in use, judged on their GGUFs by the same questions."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lunar_tune import __version__
from lunar_tune.artefacts import Dataset, Evaluation, Model, TokenRow, Verdict
from lunar_tune.errors import MissingExtra
from lunar_tune.files import finish_artefact, is_artefact, read_json, read_jsonl, write_json, write_jsonl
from lunar_tune.identity import content_id, file_sha256
from lunar_tune.workflow.ground import Ground, ground
from lunar_tune.workflow.learn import base_gguf, dataset_tokens
from lunar_tune.workflow.ship import current_version
from lunar_tune.workflow.space import Workspace, load_model

if TYPE_CHECKING:
    from lunar_tune.evaluate.arms import ArmResult
    from lunar_tune.evaluate.probes import Probe
    from lunar_tune.evaluate.turns import HeldOutTurn
    from lunar_tune.runtimes.llama_server import LlamaServer

SLACK = 16  # tokens of context beyond prompt and answer


@dataclass(frozen=True)
class Arm:
    """A model in a way of use: its GGUF, and the system prompt that it is asked with (None: each row's own, "": none).

    The base is asked as it is used today. A version is asked with the prompt that it was trained and is served with.
    """

    gguf: Path
    sha256: str
    system: str | None


@dataclass(frozen=True)
class Questions:
    """What every arm is asked: held-out turns, probes, and held-out rows to score; `context` fits the longest.

    `turns` have the log's system prompts; `rows` are by the system prompt of an arm. The turns and the rows that are
    scored are the same ones for all arms.
    """

    turns: Sequence[HeldOutTurn]
    probes: Sequence[Probe]
    rows: Mapping[str | None, Sequence[TokenRow]]
    context: int


def require_judge() -> None:
    """Make sure that what is trained can be judged here.

    Raises:
        MissingExtra: llama.cpp is not installed.
    """
    for package in ("xllamacpp", "cyllama"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "llamacpp")


def evaluate(space: Workspace, dataset: Dataset, model: Model) -> Evaluation:
    """Judge a version on a dataset's held-out turns and on the probes; once per version, dataset and settings.

    Raises:
        MissingExtra, RuntimeFailure: nothing can answer or score here.
    """
    from lunar_tune.evaluate.compare import compare_arms
    from lunar_tune.evaluate.evaluation import evaluation_document as document_of
    from lunar_tune.evaluate.evaluation import read_evaluation
    from lunar_tune.evaluate.gate import decide

    on = ground(space)
    versions = arms_of(space, on, model)
    systems = list(dict.fromkeys(arm.system for arm in versions.values()))
    questions, left_out = ask(space, dataset, on, systems)
    settings = space.settings
    inputs = {
        "arms": {name: arm.sha256 for name, arm in versions.items()},
        "systems": {name: arm.system for name, arm in versions.items()},
        "questions": [[turn.id for turn in questions.turns], [asdict(p) for p in questions.probes]],
        "dataset": dataset.id,
        "settings": [asdict(settings.evaluate), asdict(settings.gate)],
        "prompt": on.prompt.version,
        "code": __version__,
    }
    name = content_id("ev", inputs)
    final = space.home / "evaluations" / name
    if not is_artefact(final):
        kept, differing = served_alike(space, on, model, questions)
        arms = {name: judge_arm(space, on, name, arm, kept) for name, arm in versions.items()}
        level = settings.gate.confidence
        paired = {
            f"tuned-{arm}": compare_arms(arms["tuned"], arms[arm], confidence=level) for arm in arms if arm != "tuned"
        }
        verdict, reasons = decide({arm: result.figures for arm, result in arms.items()}, paired, settings.gate)
        if differing:
            reasons = [*reasons, f"{len(differing)} held-out turns were left out: the server renders them differently"]
        document = document_of(arms, paired, verdict, reasons)
        work = space.fresh_work(name)
        write_json(work / "report.json", document | {"left_out": [asdict(v) for v in (*left_out, *differing)]})
        write_jsonl(work / "samples.jsonl", ({"arm": arm, **s} for arm, result in arms.items() for s in result.samples))
        manifest = {"id": name, "version": model.version, "dataset": dataset.id, "verdict": verdict}
        finish_artefact(work, final, manifest | {"arms": inputs["arms"]})
    return read_evaluation(name, final, read_json(final / "report.json"))


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation in the form of `evaluate --json`."""
    return dict(read_json(evaluation.path / "report.json")) | {"evaluation": evaluation.id}


def ask(
    space: Workspace, dataset: Dataset, on: Ground, systems: Sequence[str | None]
) -> tuple[Questions, list[Verdict]]:
    """Choose what every arm is asked; say which held-out turns and rows do not fit the window with every prompt."""
    from lunar_tune.evaluate.probes import load_probes
    from lunar_tune.evaluate.turns import choose_turns, fitting_turns, held_out_turns

    settings, window = space.settings.evaluate, space.settings.dataset.window
    turns = held_out_turns(read_jsonl(dataset.split("test")))
    turns, left_out, longest = fitting_turns(turns, on.prompt, on.tokenizer, window, systems)
    probes = load_probes() + (load_probes(Path(settings.probes)) if settings.probes else [])
    rows, unequal = rows_to_score(space, dataset, on, systems)
    longest = max([longest, *(len(row.ids) - settings.max_tokens for form in rows.values() for row in form), 512])
    questions = Questions(choose_turns(turns, settings.turns), probes, rows, longest + settings.max_tokens + SLACK)
    return questions, [*left_out, *unequal]


def rows_to_score(
    space: Workspace, dataset: Dataset, on: Ground, systems: Sequence[str | None]
) -> tuple[dict[str | None, list[TokenRow]], list[Verdict]]:
    """Return the test rows' tokens with each system prompt, and say which rows cannot be compared.

    A row is scored when the same number of its tokens is supervised with every prompt: with a long one, an answer may
    not fit the window.
    """
    from lunar_tune.tokens import read_tokens, whole

    forms = {
        system: read_tokens(dataset_tokens(space, dataset, on), "test")
        if system is None
        else asked_rows(space, dataset, on, system)
        for system in systems
    }
    sizes: dict[str | None, Counter[str]] = {system: Counter() for system in systems}
    for system, rows in forms.items():
        for row in rows:
            sizes[system][whole(row.id)] += row.supervised
    every = sorted(set().union(*sizes.values()))
    unequal = {id_ for id_ in every if len({size[id_] for size in sizes.values()}) > 1}
    detail = "not all of its answers fit the window with every system prompt that is judged"
    verdicts = [Verdict(id_, "evaluate", "window", detail) for id_ in every if id_ in unequal]
    return {system: [row for row in rows if whole(row.id) not in unequal] for system, rows in forms.items()}, verdicts


def asked_rows(space: Workspace, dataset: Dataset, on: Ground, system: str) -> list[TokenRow]:
    """Return the test rows' tokens with another system prompt than the log's."""
    from lunar_tune.evaluate.turns import with_prompt
    from lunar_tune.tokens import row_tokens

    window = space.settings.dataset.window
    rows = ({**row, "messages": with_prompt(row["messages"], system)} for row in read_jsonl(dataset.split("test")))
    return [piece for row in rows for piece in row_tokens(row, on.prompt, on.tokenizer, window)[0]]


def arms_of(space: Workspace, on: Ground, model: Model) -> dict[str, Arm]:
    """Return every arm: the base at the same number format, the version in use, the candidate."""
    base = base_gguf(space, on, model.quant)
    arms = {"base": Arm(base, file_sha256(base), None)}
    current = current_version(space)
    if current is not None and current != model.version and is_artefact(space.home / "models" / current):
        arms["current"] = _arm(load_model(space.home / "models" / current))
    return arms | {"tuned": _arm(model)}


def _arm(model: Model) -> Arm:
    return Arm(model.gguf, model.sha256, model.manifest.get("system"))


def served_alike(space: Workspace, on: Ground, model: Model, questions: Questions) -> tuple[Questions, list[Verdict]]:
    """Keep the turns whose ids are the very ids that a server makes of the same request; the others are said.

    A turn that is asked differently in training and in serving would judge something that no agent meets.
    """
    from lunar_tune.runtimes.llama_server import LlamaServer

    kept: list[HeldOutTurn] = []
    differing: list[Verdict] = []
    with LlamaServer(model.gguf, context=512, threads=space.settings.evaluate.threads) as server:
        for done, turn in enumerate(questions.turns, 1):
            if all(same_ids(server, on, turn.asked_with(system)) for system in questions.rows):
                kept.append(turn)
            else:
                differing.append(Verdict(turn.row, "evaluate", "rendered differently", message=len(turn.context)))
            space.talk.progress("prompt parity", done, len(questions.turns))
    return replace(questions, turns=kept), differing


def same_ids(server: LlamaServer, on: Ground, turn: HeldOutTurn, *, raw: bool = False) -> bool:
    """Tell whether our prompt of a turn has the ids that llama-server gives it.

    The server gets the messages as `lunar-tune serve` passes them on, in the shape that the style takes; with `raw` as
    they stand in the row, which a style with one call a turn may refuse.
    """
    from lunar_tune.errors import RuntimeFailure
    from lunar_tune.prompts.base import spoken_date
    from lunar_tune.tokens import prompt_ids

    ours = prompt_ids(turn.context, turn.tools, turn.date, on.prompt, on.tokenizer)
    messages, tools = (turn.context, turn.tools) if raw else on.prompt.shaped(turn.context, turn.tools)
    try:
        text = server.apply_template(messages, tools, spoken_date(turn.date))
    except RuntimeFailure:  # a template that refuses the messages serves nobody
        return False
    return ours[1:] == server.tokenize(text)  # the server adds the begin-of-text token when it answers


def judge_arm(space: Workspace, on: Ground, name: str, arm: Arm, questions: Questions) -> ArmResult:
    """Return what an arm made of the questions; what was judged before is not asked again."""
    from lunar_tune.evaluate.arms import ArmResult, arm_key
    from lunar_tune.evaluate.judge import judge
    from lunar_tune.runtimes.llama_server import LlamaServer
    from lunar_tune.runtimes.scoring import GgufScorer

    settings, rows = space.settings.evaluate, questions.rows[arm.system]
    key = arm_key(arm.sha256, on.prompt.version, arm.system, questions.turns, questions.probes, rows, settings)
    known = space.store.answers(key)
    if known is not None:
        return ArmResult.from_json(known)
    context, threads = questions.context, settings.threads
    with (
        LlamaServer(arm.gguf, context=context, parallel=settings.parallel, threads=threads, reuse=True) as runtime,
        GgufScorer(arm.gguf, context=context, threads=threads) as scorer,
    ):
        result = judge(
            runtime,
            scorer,
            on.prompt,
            on.tokenizer,
            [turn.asked_with(arm.system) for turn in questions.turns],
            questions.probes,
            settings,
            lambda done, total: space.talk.progress(f"judging {name}", done, total),
            rows=rows,
        )
    space.store.save_answers(key, result.to_json())
    return result
