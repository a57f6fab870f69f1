"""Small databases in the documented shapes."""

import sqlite3
from pathlib import Path

import pytest
from log_database import LLM_SCHEMA, Database, LunarLog


@pytest.fixture
def lunar_log(tmp_path):
    log = LunarLog(tmp_path / "lunar.db")
    yield log
    log.db.close()


@pytest.fixture
def llm_log(tmp_path):
    log = Database(tmp_path / "logs.db", LLM_SCHEMA)
    yield log
    log.db.close()


@pytest.fixture(scope="session")
def fixture_log(tmp_path_factory):
    path = tmp_path_factory.mktemp("fixture") / "lunar.db"
    db = sqlite3.connect(path)
    db.executescript((Path(__file__).parents[2] / "fixtures" / "lunar_logs.sql").read_text(encoding="utf-8"))
    db.close()
    return path
