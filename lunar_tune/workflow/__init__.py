"""One function a stage: settings + store + stage + artefact. The command line and the nightly run share it.

A stage whose artefact exists is skipped; unfinished work lives in HOME/work/<id> and becomes an artefact by one rename.
"""

from lunar_tune.workflow.data import describe_logs, episode_lines, harvest, watermarks
from lunar_tune.workflow.forecast import plan_run
from lunar_tune.workflow.forget import forget, forgotten_mark, remember
from lunar_tune.workflow.ground import ground
from lunar_tune.workflow.judge import evaluate, evaluation_document, require_judge
from lunar_tune.workflow.learn import train
from lunar_tune.workflow.review import Reviewing, decided_mark, listed_decisions
from lunar_tune.workflow.ship import deploy, export, promote, prune, rollback, versions
from lunar_tune.workflow.show import counted_tokens, some_rows, trained_rows
from lunar_tune.workflow.space import Workspace, find_dataset, find_model, find_run, open_workspace

__all__ = [
    "Reviewing",
    "Workspace",
    "counted_tokens",
    "decided_mark",
    "deploy",
    "describe_logs",
    "episode_lines",
    "evaluate",
    "evaluation_document",
    "export",
    "find_dataset",
    "find_model",
    "find_run",
    "forget",
    "forgotten_mark",
    "ground",
    "harvest",
    "listed_decisions",
    "open_workspace",
    "plan_run",
    "promote",
    "prune",
    "remember",
    "require_judge",
    "rollback",
    "some_rows",
    "train",
    "trained_rows",
    "versions",
    "watermarks",
]
