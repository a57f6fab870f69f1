"""evaluate: a candidate, its base and the version in use, judged on their GGUFs by the same questions."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lunar_tune import __version__
from lunar_tune.artefacts import Dataset, Evaluation, Model, TokenRow, Verdict
from lunar_tune.errors import MissingExtra
from lunar_tune.files import finish_artefact, is_artefact, read_json, read_jsonl, write_json, write_jsonl
from lunar_tune.identity import content_id, file_sha256
from lunar_tune.workflow.learn import Ground, base_gguf, dataset_tokens, ground
from lunar_tune.workflow.ship import current_version
from lunar_tune.workflow.space import Workspace, load_model

if TYPE_CHECKING:
    from lunar_tune.evaluate.arms import ArmResult
    from lunar_tune.evaluate.probes import Probe
    from lunar_tune.evaluate.turns import HeldOutTurn
    from lunar_tune.runtimes.llama_server import LlamaServer

SLACK = 16  # tokens of context beyond prompt and answer


@dataclass(frozen=True)
class Questions:
    """What every arm is asked: held-out turns, probes, and held-out rows to score; `context` fits the longest.

    `served` are the rows with the shorter prompt of `dataset.system`, None where the log's own was trained with. Then
    the tuned model is asked with that one, and the base and the version in use with the full one, as they are today.
    """

    turns: Sequence[HeldOutTurn]
    probes: Sequence[Probe]
    rows: Sequence[TokenRow]
    context: int
    served: Sequence[TokenRow] | None = None

    def as_served(self) -> Questions:
        """Return what the tuned model is asked: with the system prompt that it was trained and is served with."""
        if self.served is None:
            return self
        turns = [replace(turn, context=turn.context if turn.served is None else turn.served) for turn in self.turns]
        return replace(self, turns=turns, rows=self.served)


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
    questions, left_out = ask(space, dataset, on)
    versions = arms_of(space, on, model)
    settings = space.settings
    inputs = {
        "arms": {name: sha256 for name, (_, sha256) in versions.items()},
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
        asked = {arm: kept.as_served() if arm == "tuned" else kept for arm in versions}
        arms = {arm: judge_arm(space, on, arm, *versions[arm], asked[arm]) for arm in versions}
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


def ask(space: Workspace, dataset: Dataset, on: Ground) -> tuple[Questions, list[Verdict]]:
    """Choose what every arm is asked, and say which held-out turns are too long for the window."""
    from lunar_tune.evaluate.probes import load_probes
    from lunar_tune.evaluate.turns import choose_turns, fitting_turns, held_out_turns
    from lunar_tune.tokens import prompt_ids, read_tokens

    settings = space.settings.evaluate
    turns = held_out_turns(read_jsonl(dataset.split("test")))
    turns, left_out = fitting_turns(turns, on.prompt, on.tokenizer, space.settings.dataset.window)
    turns = choose_turns(turns, settings.turns)
    probes = load_probes() + (load_probes(Path(settings.probes)) if settings.probes else [])
    rows = read_tokens(dataset_tokens(space, dataset, on), "test")
    lengths = [len(prompt_ids(t.context, t.tools, t.date, on.prompt, on.tokenizer)) for t in turns]
    longest = max([*lengths, *(len(row.ids) - settings.max_tokens for row in rows), 512])
    context = longest + settings.max_tokens + SLACK
    return Questions(turns, probes, rows, context, served_rows(dataset, on, space.settings.dataset.window)), left_out


def served_rows(dataset: Dataset, on: Ground, window: int) -> list[TokenRow] | None:
    """Return the test rows' tokens with the prompt that was trained with, None where that is the one they have."""
    from lunar_tune.evaluate.turns import with_prompt
    from lunar_tune.tokens import fit_rows

    found: list[TokenRow] = []
    another = False
    for row in read_jsonl(dataset.split("test")):
        messages = with_prompt(row["messages"], row)
        another = another or messages is not None
        made = row if messages is None else {**row, "messages": list(messages)}
        found += fit_rows(made, on.prompt, on.tokenizer, window)[0]
    return found if another else None


def arms_of(space: Workspace, on: Ground, model: Model) -> dict[str, tuple[Path, str]]:
    """Return GGUF and SHA-256 of every arm: the base at the same number format, the version in use, the candidate."""
    base = base_gguf(space, on, model.quant)
    arms = {"base": (base, file_sha256(base))}
    current = current_version(space)
    if current is not None and current != model.version and is_artefact(space.home / "models" / current):
        used = load_model(space.home / "models" / current)
        arms["current"] = (used.gguf, used.sha256)
    return arms | {"tuned": (model.gguf, model.sha256)}


def served_alike(space: Workspace, on: Ground, model: Model, questions: Questions) -> tuple[Questions, list[Verdict]]:
    """Keep the turns whose ids are the very ids that a server makes of the same request; the others are said.

    A turn that is asked differently in training and in serving would judge something that no agent meets.
    """
    from lunar_tune.runtimes.llama_server import LlamaServer

    kept: list[HeldOutTurn] = []
    differing: list[Verdict] = []
    with LlamaServer(model.gguf, context=512, threads=space.settings.evaluate.threads) as server:
        for done, turn in enumerate(questions.turns, 1):
            forms = [turn] if turn.served is None else [turn, replace(turn, context=turn.served)]
            if all(same_ids(server, on, form) for form in forms):
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


def judge_arm(space: Workspace, on: Ground, arm: str, gguf: Path, sha256: str, questions: Questions) -> ArmResult:
    """Return what an arm made of the questions; what was judged before is not asked again."""
    from lunar_tune.evaluate.arms import ArmResult, arm_key
    from lunar_tune.evaluate.judge import judge
    from lunar_tune.runtimes.llama_server import LlamaServer
    from lunar_tune.runtimes.scoring import GgufScorer

    settings = space.settings.evaluate
    key = arm_key(sha256, on.prompt.version, questions.turns, questions.probes, questions.rows, settings)
    known = space.store.answers(key)
    if known is not None:
        return ArmResult.from_json(known)
    context, threads = questions.context, settings.threads
    with (
        LlamaServer(gguf, context=context, parallel=settings.parallel, threads=threads, reuse=True) as runtime,
        GgufScorer(gguf, context=context, threads=threads) as scorer,
    ):
        result = judge(
            runtime,
            scorer,
            on.prompt,
            on.tokenizer,
            questions.turns,
            questions.probes,
            settings,
            lambda done, total: space.talk.progress(f"judging {arm}", done, total),
            rows=questions.rows,
        )
    space.store.save_answers(key, result.to_json())
    return result
