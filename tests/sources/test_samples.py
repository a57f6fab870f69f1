"""Databases that real libraries wrote, outside the project: run with `LUNAR_TUNE_SAMPLES=FOLDER` in the environment.

What each reads as was checked by hand; kept here are the content ids of its episodes and their numbers.
"""

import os
import shutil
from pathlib import Path

import pytest

from lunar_tune import plugins
from lunar_tune.settings import HarvestSettings
from lunar_tune.sources.read import open_logs

FOLDER = os.environ.get("LUNAR_TUNE_SAMPLES")
GOLDEN = {  # file -> reader, (id, messages, calls) of each episode
    "adk_database": ("adk", ("ep-3ac61ae26434e051", 4, 1)),
    "adk_sqlite": ("adk", ("ep-f9ef2e0186e4b897", 4, 1)),
    "agno": ("agno", ("ep-c1bee31e8ad2e0c5", 4, 1)),
    "langchain_history": ("langchain", ("ep-82b2221612667b37", 4, 1)),
    "langgraph": ("langgraph", ("ep-4858724d466f0645", 4, 1)),
    "llm_logs": ("llm", ("ep-64251ffd569e3244", 4, 1)),
    "mlflow": ("mlflow", ("ep-ce5ef8f87585b47d", 4, 1)),
    "openai_agents": ("openai-agents", ("ep-0eceef3f5ca81459", 4, 1)),
    "openai_agents_adv": ("openai-agents", ("ep-608ca3baf7cd901b", 4, 1), ("ep-7faa79b1f063fafe", 4, 1)),
}


@pytest.mark.skipif(not FOLDER, reason="LUNAR_TUNE_SAMPLES names no folder of samples")
@pytest.mark.parametrize("name", GOLDEN)
def test_a_sample_reads_as_it_was_checked(name, tmp_path):
    for part in Path(FOLDER or "").glob(f"{name}.db*"):
        shutil.copy(part, tmp_path)
    lost = []
    with open_logs([tmp_path / f"{name}.db"], plugins.sources(), HarvestSettings()) as (log,):
        found = [(e.id, len(e.messages), sum(len(m.tool_calls) for m in e.messages)) for e in log.read(lost.append)]
        assert (log.name, *found) == GOLDEN[name]
    assert lost == []
