"""The command `doctor`."""

from __future__ import annotations

import click

from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import print_json, print_table
from lunar_tune.settings import Settings


@click.command()
@json_flag
@settings_flags("train", "deploy")
def doctor(context: Context, as_json: bool, settings: Settings) -> int:
    """Check libraries, base model, disk, memory and registry.

    \b
    Example:
      lunar-tune doctor
    """
    from lunar_tune.doctor import examine

    findings = examine(context.home, settings)
    if as_json:
        print_json([{"check": f.check, "ok": f.ok, "detail": f.detail, "cure": f.cure} for f in findings])
    else:
        rows = [("ok" if f.ok else "no", f.check, f.detail, f.cure) for f in findings]
        print_table(("", "check", "found", "what helps"), rows)
    return 0 if all(f.ok or f.optional for f in findings) else 1
