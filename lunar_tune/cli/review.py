"""The command `review`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from lunar_tune.cli.options import Context, json_flag, settings_flags
from lunar_tune.cli.output import Talk, print_json, print_table
from lunar_tune.settings import Settings
from lunar_tune.store.decisions import Action

if TYPE_CHECKING:
    from lunar_tune.workflow import Reviewing, Workspace
    from lunar_tune.workflow.review import Item, Turn

TARGET = "ID[:TURN]"
DECIDE: tuple[Action, ...] = ("drop", "keep")


@click.command()
@click.argument("dataset_id", required=False, metavar="[DATASET]")
@click.option("--kept", is_flag=True, help="Only conversations that the dataset has a row of.")
@click.option("--dropped", is_flag=True, help="Only conversations of which something is left out.")
@click.option("--reason", metavar="TEXT", help="Only conversations with a reason that holds this text.")
@click.option("--step", metavar="NAME", help="Only conversations that this step of curation left something out of.")
@click.option("--search", metavar="TEXT", help="Only conversations in which this text stands.")
@click.option("--keep", multiple=True, metavar=TARGET, help="Keep a turn, or all turns of a conversation.")
@click.option("--drop", multiple=True, metavar=TARGET, help="Drop a turn, or a whole conversation.")
@click.option("--edit", metavar="ID:TURN", help="Change an answer's text, in $EDITOR or to that of --text.")
@click.option("--text", type=click.File("r", encoding="utf-8"), help="The new text for --edit: a file, or - .")
@click.option("--undo", multiple=True, metavar=TARGET, help="Take a decision back; a key of --decisions does, too.")
@click.option("--decisions", is_flag=True, help="List the decisions.")
@json_flag
@settings_flags()
def review(
    context: Context,
    dataset_id: str | None,
    kept: bool,
    dropped: bool,
    reason: str | None,
    step: str | None,
    search: str | None,
    decisions: bool,
    as_json: bool,
    settings: Settings,
    **asked: Any,
) -> None:
    """Page through a dataset, kept and dropped, with reasons; keep, drop or edit turns.

    Decisions are kept by what was said and hold from the next harvest on. `--json` lists conversations and turns with
    their ids and reasons, without texts.

    \b
    Example:
      lunar-tune review --dropped
    """
    from lunar_tune import workflow
    from lunar_tune.store import EpisodeStore

    with workflow.open_workspace(context.home, settings, Talk(), locked=False) as space:
        if decisions:
            return _list_decisions(space, as_json)
        with contextlib.closing(EpisodeStore(context.home)) as episodes:
            open_review = workflow.Reviewing(space, episodes, dataset_id)
            if any(asked.values()):
                return _decide(open_review, asked, as_json)
            wanted = {"kept": kept, "dropped": dropped, "reason": reason, "step": step, "search": search}
            items = _chosen(open_review, wanted)
            if as_json:
                return _list_items(open_review, items)
            return _page(open_review, items, Talk())


def _chosen(review: Reviewing, wanted: dict[str, Any]) -> list[Item]:
    """Return the conversations that all filters let through."""

    def wants(item: Item) -> bool:
        reasons = item.reasons()
        return (
            (not wanted["kept"] or item.kept)
            and (not wanted["dropped"] or bool(reasons))
            and (wanted["step"] is None or any(step == wanted["step"] for step, _ in reasons))
            and (wanted["reason"] is None or any(wanted["reason"].casefold() in r.casefold() for _, r in reasons))
            and (wanted["search"] is None or review.holds(item, wanted["search"]))
        )

    return [item for item in review.items if wants(item)]


def _page(review: Reviewing, items: list[Item], talk: Talk) -> None:
    from lunar_tune.errors import UsageError

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "The pages of `review` need a terminal.",
            "Without one: `lunar-tune review --json` lists conversations, turns and reasons; `--keep ID[:TURN]`, "
            "`--drop ID[:TURN]`, `--edit ID:TURN --text FILE` and `--undo ID[:TURN]` decide; `--decisions` lists that.",
        )
    if not items:
        return click.echo("No conversation is like that.")
    from lunar_tune.cli.review_screen import Screen

    Screen(review, items).run()
    if review.newer:
        talk.say(f"{review.newer} conversation(s) are not in this dataset: they came later, or were left out by name")
    return None


def _list_items(review: Reviewing, items: Sequence[Item]) -> None:
    listed = [item.document() for item in items]
    print_json({"dataset": review.dataset.id, "newer": review.newer, "conversations": listed})


def _list_decisions(space: Workspace, as_json: bool) -> None:
    from lunar_tune import workflow

    listed = workflow.listed_decisions(space)
    if as_json:
        return print_json(listed)
    if not listed:
        return click.echo("Nothing was decided yet.")
    headers = ("key", "decision", "conversation", "turns", "at")
    rows = [
        (one["key"], one["action"], one["thread"], "all" if one["whole"] else one["turns"], one["at"]) for one in listed
    ]
    return print_table(headers, rows)


def _decide(review: Reviewing, asked: dict[str, Any], as_json: bool) -> None:
    """Do what the flags say, in the order drop, keep, edit, undo, and tell what came of it."""
    if asked["text"] is not None and asked["edit"] is None:
        raise click.UsageError("--text is the new text of --edit ID:TURN.")
    told = [_decided(review, action, target) for action in DECIDE for target in asked[action]]
    if asked["edit"] is not None:
        told.append(_edited(review, asked["edit"], asked["text"]))
    told += [_undone(review, target) for target in asked["undo"]]
    if as_json:
        return print_json(told)
    for one in told:
        click.echo(f"{one['action']} {one['id']}: {one['said']}")
    return None


def _decided(review: Reviewing, action: Action, target: str) -> dict[str, Any]:
    item, turn = review.find(target)
    review.decide(item, turn, action)
    return _told(item, turn, action)


def _edited(review: Reviewing, target: str, text: IO[str] | None) -> dict[str, Any]:
    from lunar_tune.errors import UsageError

    item, turn = review.find(target)
    if turn is None:
        turns = ", ".join(f"{item.id}:{one.index}" for one in item.turns)
        raise UsageError("Which turn is to be edited?", f"Name one: {turns}")
    if text is not None:
        new: str | None = text.read()
    elif sys.stdin.isatty():
        new = click.edit(review.answer(item, turn), extension=".txt")
    else:
        raise UsageError("Without a terminal there is no editor.", "Pass the new text: --text FILE, or --text - .")
    if new is None:
        return {"action": "edit", "id": item.id, "turns": [turn.index], "said": "not changed"}
    review.decide(item, turn, "edit", new.rstrip("\n"))
    return _told(item, turn, "edit")


def _undone(review: Reviewing, target: str) -> dict[str, Any]:
    found = review.undo_key(target)
    if found:
        return {"action": "undo", "id": target, "said": f"taken back, {found} turn(s)"}
    item, turn = review.find(target)
    found = review.undo(item, turn)
    return {"action": "undo", "id": item.id, "said": f"taken back, {found} turn(s)" if found else "was not decided"}


def _told(item: Item, turn: Turn | None, action: str) -> dict[str, Any]:
    turns = item.turns if turn is None else [turn]
    said = f"{len(turns)} turn(s), from the next harvest on"
    barred = [one for one in turns if one.barred and not one.after] if action != "drop" else []
    if barred:
        why = "; ".join(dict.fromkeys(one.verdict.reason for one in barred if one.verdict))
        said += f"; {len(barred)} of them cannot be learnt all the same: {why}"
    return {"action": action, "id": item.id, "turns": [one.index for one in turns], "said": said}
