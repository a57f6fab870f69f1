"""Logs that the real libraries write. Skipped, and the libraries not even imported, unless asked for."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
HOW = "reads what the real libraries write: run `make real`, which installs them into .venv-real"


def asked(config):
    """Whether this folder, a file in it, or the marker was named."""
    named = [Path(str(arg).partition("::")[0]).resolve() for arg in config.args]
    return "real" in config.option.markexpr or any(path == HERE or HERE in path.parents for path in named)


def pytest_configure(config):
    if asked(config):  # their warnings are not ours
        config.addinivalue_line("filterwarnings", "ignore")
        config.addinivalue_line("filterwarnings", "error:::lunar_tune")


class Unasked(pytest.Module):
    """A file that is skipped as a whole."""

    def collect(self):
        raise pytest.skip.Exception(HOW, allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    return None if asked(parent.config) else Unasked.from_parent(parent, path=module_path)
