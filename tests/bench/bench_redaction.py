"""Recall of redaction on planted secrets, what it replaces in clean text, its speed. `bench_redaction.py [--summary]`.

`--summary` shows the seen half of the kinds alone (beside the rate of wrong replacements and the speed), which is what
a writer of rules may look at. A secret survives when its value, or more than half of a long one, can still be read in
any string of the episode, with JSON's escapes undone or percent-decoded. What is replaced in clean text is right where
a plain definition (redaction_corpus_clean.PLAIN) finds something personal or secret in a package; made-up traffic holds
none. The exit status is 1 when a wanted figure is missed.
"""

from __future__ import annotations

import argparse
import inspect
import json
import multiprocessing
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from redaction_corpus import NAMES, Case, kinds, planted, strings, survivors, visible
from redaction_corpus_clean import clean, conversation, everything, replaced
from redaction_corpus_traffic import traffic

from lunar_tune.curate.redact import redacted
from lunar_tune.episodes import Episode
from lunar_tune.settings import CurateSettings

RECALL, RECALL_OF_A_KIND, FALSE_PER_10000_WORDS, MEGABYTES_A_SECOND = 0.99, 0.95, 1.0, 10.0
LONG = 40.0  # seconds after which a round is not repeated
SECRETS, KINDS, CLEAN_WORDS, SPEED_BYTES = 1000, 40, 300_000, 20_000_000

Redact = Callable[[Episode], tuple[Episode, Counter[str]]]


def redactor() -> tuple[Redact, bool]:
    """Return the public way to redact an episode, told the listed names if it can be; and whether it was."""
    known = inspect.signature(redacted).parameters
    for name in ("names", "listed", "listed_names"):
        if name in known:
            return partial(redacted, **{name: NAMES}), True
    wanted = [one.name for one in fields(CurateSettings) if "name" in one.name]
    if "settings" in known and wanted:
        return partial(redacted, settings=replace(CurateSettings(), **{wanted[0]: NAMES})), True
    return redacted, False


class Report:
    """Lines of wanted and got; what was missed is remembered."""

    def __init__(self) -> None:
        self.missed = 0

    def line(self, what: str, got: float, wanted: float, at_most: bool = False, form: str = ".3f") -> None:
        good = got <= wanted if at_most else got >= wanted
        self.missed += not good
        sign = "<=" if at_most else ">="
        print(f"{'ok  ' if good else 'MISS'}  {what:44s} got {got:{form}}  wanted {sign} {wanted:{form}}")


def recall(redact: Redact, report: Report, given: argparse.Namespace, named: bool) -> None:
    """Print recall over all and of every kind, the weakest first."""
    found: dict[str, list[tuple[Case, list[str]]]] = defaultdict(list)
    for case in planted(given.per_kind, given.seed):
        if (given.summary and not case.seen) or (not named and case.kind.startswith("listed name")):
            continue
        if len(survivors(case, case.episode)) != len(case.secret.parts):
            raise ValueError(f"a {case.kind} in {case.carrier} was not planted whole")
        found[case.kind].append((case, survivors(case, redact(case.episode)[0])))
    if not named:
        print("      listed names are not asked for: redaction takes none")
    for half in (True, False):
        cases = [one for ones in found.values() for one in ones if one[0].seen is half]
        if cases:
            rate = sum(not left for _, left in cases) / len(cases)
            report.line(f"recall, {'seen' if half else 'unseen'} half, {len(cases):,} secrets", rate, RECALL)
    if not given.summary:
        cases = [one for ones in found.values() for one in ones]
        report.line("planted secrets", len(cases), SECRETS, form=",.0f")
        report.line("kinds", len(found), KINDS, form="d")
        report.line("recall over all", sum(not left for _, left in cases) / len(cases), RECALL)
    rates = {kind: sum(not left for _, left in ones) / len(ones) for kind, ones in found.items()}
    for kind, rate in sorted(rates.items(), key=lambda one: one[1]):
        report.line(f"{kind} ({'seen' if kinds()[kind] else 'unseen'})", rate, RECALL_OF_A_KIND)
        if given.misses and kinds()[kind]:
            for case, left in found[kind]:
                if left:
                    print(f"        {case.carrier:9s} {case.secret.text[:90]!r} left {left[0][:60]!r}")
    if not given.summary:
        carriers: dict[str, list[bool]] = defaultdict(list)
        for ones in found.values():
            for case, left in ones:
                carriers[case.carrier].append(not left)
        for carrier, hits in sorted(carriers.items(), key=lambda one: sum(one[1]) / len(one[1])):
            print(f"      in {carrier:10s} {sum(hits) / len(hits):.3f} of {len(hits)}")


def false_positives(redact: Redact, report: Report, given: argparse.Namespace) -> None:
    """Print how often clean text was replaced, by source."""
    words: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    shown: Counter[tuple[str, str, str, str]] = Counter()
    for one in clean():
        words[one.source] += one.words
        for place in replaced(one.episode, redact(one.episode)[0], judged=one.source != "traffic"):
            (right if place.right else wrong)[one.source] += 1
            if not place.right:
                shown[one.source, place.placeholder, place.before[:80], place.around] += 1
    total = sum(words.values())
    report.line("clean words", total, CLEAN_WORDS, form=",.0f")
    report.line("wrong replacements in 10,000 words", 1e4 * sum(wrong.values()) / total, FALSE_PER_10000_WORDS, True)
    for source in words:
        places = f"{right[source]:4d} replaced rightly  {wrong[source]:4d} wrongly"
        print(f"      {source:10s} {words[source]:7,d} words  {places}")
    if given.false:
        for (source, mark, before, around), times in shown.most_common():
            print(f"        {times:3d} x {source} {mark} {before!r} in {around!r}")


def busy_day(size: int) -> list[Episode]:
    """Return unlike conversations of about 3 KB: files that tools read, their traffic, and a secret in one of forty."""
    made: list[Episode] = []
    reads, returns, secrets = everything(), (text for _, text in traffic("speed")), planted(10, 7)
    total = 0
    while total < size:
        group = [next(reads, None) or next(returns), *islice(returns, 3)]
        episode = conversation(f"day-{len(made)}", group)
        if len(made) % 40 == 0 and (case := next(secrets, None)):
            episode = replace(episode, messages=(*episode.messages, *case.episode.messages))
        made.append(episode)
        total += volume(episode)
    return made


def volume(episode: Episode) -> int:
    """Return the bytes of what the messages say: contents and the leaves and keys of arguments."""
    return sum(
        len(message.content.encode())
        + sum(len(text.encode()) for call in message.tool_calls for text in strings(call.arguments))
        for message in episode.messages
    )


def _timed(work: Callable[[], Any], out: Any) -> None:
    began = time.process_time()
    work()
    out.put(time.process_time() - began)


def best(work: Callable[[], Any], rounds: int) -> float:
    """Return the least seconds of processor time of rounds, each in a fork that finds the caches of no other.

    What is measured runs in one process on one core; on an idle machine its wall time is the same.
    """
    context = multiprocessing.get_context("fork")
    times = []
    for _ in range(rounds):
        out = context.SimpleQueue()
        child = context.Process(target=_timed, args=(work, out))
        child.start()
        times.append(out.get())
        child.join()
        if times[-1] > LONG:
            break
    return min(times)


def speed(redact: Redact, report: Report) -> None:
    """Print MB/s of one process, and of what there is beside."""
    episodes = busy_day(SPEED_BYTES)
    size = sum(map(volume, episodes))
    began = time.process_time()
    for case in planted(5):  # enough to be searched by hyperscan, which takes its time to be ready
        redact(case.episode)
    print(f"      ready after {time.process_time() - began:.1f} s")
    texts = [message.content for episode in episodes for message in episode.messages]

    def all_of_it() -> None:
        for episode in episodes:
            redact(episode)

    report.line(f"MB/s of {size / 1e6:.1f} MB", size / 1e6 / best(all_of_it, 3), MEGABYTES_A_SECOND, form=".1f")
    few = list(islice(texts, len(texts) // 10))
    bulk = sum(len(text.encode()) for text in few) / 1e6
    patterns = [re.compile(one) for one in NAIVE]
    loop = best(lambda: [[p.sub("<X>", text) for p in patterns] for text in few], 2)
    print(f"      {len(patterns)} patterns of `re` in a loop                  {bulk / loop:.1f} MB/s")
    for name, work in peers(few[: len(few) // 10]):
        print(f"      {name:44s} {work}")


def peers(texts: list[str]) -> Iterator[tuple[str, str]]:
    """Yield what others need for a part of the same texts."""
    bulk = sum(len(text.encode()) for text in texts) / 1e6
    try:
        from detect_secrets.core import scan
        from detect_secrets.settings import default_settings
    except ImportError:
        yield "detect-secrets", "not installed"
    else:

        def scanned() -> None:
            with default_settings():
                for text in texts:
                    for line in text.splitlines():
                        list(scan.scan_line(line))

        yield "detect-secrets, finding only", f"{bulk / best(scanned, 1):.2f} MB/s"
    try:
        import scrubadub
    except ImportError:
        yield "scrubadub", "not installed"
    else:
        yield (
            "scrubadub, default detectors",
            f"{bulk / best(lambda: [scrubadub.clean(text) for text in texts], 1):.2f} MB/s",
        )


NAIVE = (
    r"sk-[A-Za-z0-9_-]{20,}", r"sk-ant-[\w-]{80,}", r"gh[pousr]_\w{36}", r"github_pat_\w{60,}", r"glpat-[\w-]{20}",
    r"AKIA[A-Z2-7]{16}", r"ASIA[A-Z2-7]{16}", r"AIza[\w-]{35}", r"GOCSPX-[\w-]{28}", r"xox[abprs]-[\w-]{20,}",
    r"hooks\.slack\.com/services/\S+", r"[sr]k_(?:live|test)_\w{20,}", r"\bSK[0-9a-f]{32}\b",
    r"SG\.[\w-]{22}\.[\w-]{43}", r"\bhf_\w{30,}", r"\bnpm_\w{36}", r"pypi-[\w-]{80,}", r"do[opr]_v1_[0-9a-f]{64}",
    r"\b\d{8,10}:AA[\w-]{33}", r"shp(?:at|ca|ss|pa)_[0-9a-f]{32}", r"[0-9a-f]{32}-us\d{1,2}",
    r"AccountKey=[\w+/=]{80,}", r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+", r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    r"(?i)authorization:\s*basic\s+[\w+/=]+", r"(?i)bearer\s+[\w.~+/-]{20,}=*", r"\w+://[^\s:/@]+:[^\s/@]+@",
    r"(?i)(?:password|passwd|pwd)\s*[=:]\s*\S+", r"(?i)api[_-]?key\s*[=:]\s*\S+", r"(?i)secret\s*[=:]\s*\S+",
    r"(?i)token\s*[=:]\s*\S+", r"(?i)cookie:\s*\S+", r"[\w.+-]+@[\w-]+\.[\w.-]+", r"\+\d[\d ()-]{8,}\d",
    r"\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}", r"\b(?:\d[ -]?){13,19}\b", r"\b[A-Z]{2}\d{2}(?: ?\w{4}){3,7}\b",
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b", r"(?:/home|/Users)/[\w.-]+", r"\b\d{3}-\d{2}-\d{4}\b",
)  # fmt: skip

CREDENTIAL_KEYS = re.compile(r"(?i)password|session_token|e?mail$|phone")


def tooltalk(database: Path, redact: Redact, report: Report) -> None:
    """Print what survives of the credentials that a log holds under their own keys."""
    from lunar_tune.settings import HarvestSettings
    from lunar_tune.sources.lunar.source import LunarSource
    from lunar_tune.sources.read import open_logs, read_logs

    left, held = 0, 0
    with open_logs([database], [LunarSource()], HarvestSettings()) as logs:
        for episode in read_logs(logs, HarvestSettings(), lambda verdict: None):
            known = set(_credentials(episode))
            text = visible(redact(episode)[0])
            held += len(known)
            left += sum(value in text for value in known)
    print(f"      {held} credentials in {database.name}")
    report.line("credentials found", held, 1, form="d")
    report.line("of them survive", left, 0, True, form="d")


def _credentials(episode: Episode) -> Iterator[str]:
    for message in episode.messages:
        for call in message.tool_calls:
            yield from _under_keys(call.arguments)
        if message.role == "tool":
            try:
                yield from _under_keys(json.loads(message.content))
            except ValueError:
                continue


def _under_keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str) and len(item) >= 4 and CREDENTIAL_KEYS.search(key):
                yield item
            yield from _under_keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from _under_keys(item)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--summary", action="store_true", help="the seen half of the kinds only")
    parser.add_argument("--misses", action="store_true", help="what survived of the seen half, with its carrier")
    parser.add_argument("--false", action="store_true", help="every replacement that counts as wrong")
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--tooltalk", type=Path, metavar="DB", help="a log in Lunar's schema made of ToolTalk")
    parser.add_argument("--per-kind", type=int, default=27, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    (redact, named), report = redactor(), Report()
    recall(redact, report, given, named)
    false_positives(redact, report, given)
    if given.tooltalk:
        tooltalk(given.tooltalk, redact, report)
    if not given.no_speed:
        speed(redact, report)
    return 1 if report.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
