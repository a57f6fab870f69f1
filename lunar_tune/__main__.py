"""`python -m lunar_tune` is `lunar-tune`."""

from lunar_tune.cli import run

run()
