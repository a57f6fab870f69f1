# ruff: noqa: E501 (an example is one line)
"""Hyperscan and `re` lead to the same finds."""

import random
import re
import string
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_tune.curate.redact import scan
from lunar_tune.curate.redact.hints import NEAR, Hint, Hints

ALWAYS, NEVER = -1, 1 << 60  # characters to be searched by `re` alone


def test_without_hyperscan_places_are_the_same(monkeypatch):
    hints = [
        Hint(rb"sk-[a-z]{3}"),
        Hint(rb"(?i)(?:key|token)", rb"(?i)(?:key|token)=\d", begins=True),
        Hint(rb"\d{4}\b"),
    ]
    text = b"sk-abc sk-ab Token=1, keys, tokentoken=2 12345 x"
    wanted = {0: [(0, 6)], 1: [(13, 20), (33, 40)], 2: [(42, 46)]}
    with_it = dict(Hints(hints, ALWAYS).places(text))
    assert with_it.pop(2) == [(42, 46)]
    assert with_it == {index: places for index, places in wanted.items() if index != 2}
    monkeypatch.setitem(sys.modules, "hyperscan", None)
    assert dict(Hints(hints, ALWAYS).places(text)) == wanted
    assert Hints(hints, ALWAYS).present(text) == [0, 1, 2]


def test_hyperscan_is_made_ready_when_much_was_searched():
    hints = Hints([Hint(b"abc+")], 10)
    assert dict(hints.places(b"x abcc")) == {0: [(2, 6)]}
    assert not hints._databases
    assert dict(hints.places(b"x abcc")) == {0: [(2, 6)]}
    assert hints._databases


@pytest.mark.parametrize("between", [1, NEAR - 5, NEAR + 5, 2 * NEAR, 3000])
def test_a_long_hint_is_found_whole(between):
    hints = [Hint(rb"key[^\n]*=\d")]
    text = b"key" * 2 + b"." * between + b"=1 =2\n" + b"-" * 5000 + b"key=3"
    (found,) = dict(Hints(hints, ALWAYS).places(text)).values()
    assert found[0][0] in (0, 3)
    assert found[-1] == (len(text) - 5, len(text))


def test_one_byte_means_the_same_to_both():
    signs = bytes(range(256))
    for hint in (
        rb"\s",
        rb"\w",
        rb"\W",
        rb"\d",
        rb".",
        rb"[^\n]",
        rb"(?i)[a-c]",
        rb"(?i)\x4b",
        rb"[\x80-\xff]",
        rb"\bx",
        rb"x\b",
    ):
        text = b"".join(b"x" + signs[n : n + 1] for n in range(256))
        wanted = [match.span() for match in re.finditer(hint, text)]
        assert dict(Hints([Hint(hint)], ALWAYS).places(text))[0] == wanted, hint


TOLD = [
    "my password is hunter2x", "PASSWORD=Tr0ub4dor3", '{"api_key": "a1B2c3D4e5F6g7H8"}', "token: 4f1d2c3b5a69788796a5b4c3d2e1f001",
    "sk-proj-aB3dE5fG7hJ9kL1mN3pQ5rS7", "ghp_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5", "ann@corp.example", "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00", "219-09-9999", "call +49 171 2345678", "81.2.69.142", "2001:db8:85a3::8a2e:370:7334",
    "3c:22:fb:9a:10:4e", "/home/mreyes/x", "https://u:p4ssw0rd@h.example/", "Bearer abcdef0123456789ABCDEF", "curl -u ann:Tr0ub4dor3x",
    "mysql -u root -pTr0ub4dor", "docker login -p S3cr3tPw1", "Cookie: sid=8f3kd92jf8s7d6f5g4h3", "| password | S3cr3t!x |",
    "recovery codes: a1b2c-d3e4f, g5h6i-j7k8l", "2FA key JBSW Y3DP EHPK 3PXP", "482913 is your verification code", "--token x9y8z7w6v5",
    "contraseña: Gat0Negr0!", "пароль: Zim4Leto99", "0x52908400098527886E0F7030069857D2E4169EE7", "<password>Tr0ub4dor3</password>",
]  # fmt: skip
PLAIN_WORDS = [
    "the",
    "tokens",
    "keyboard",
    "passes",
    "order 4821-7734",
    "10.0.0.1",
    "v1.2.3.4",
    "\n",
    "\\n",
    '"',
    "é",
    "日本",
    "=",
    ":",
    "_",
    "-" * 30,
]


@pytest.fixture(scope="module")
def engines():
    rules = scan._hints()._hints
    plain, fast = Hints(rules, NEVER), Hints(rules, ALWAYS)
    assert fast.present(b"x") == plain.present(b"x")
    assert fast._databases
    assert not plain._databases
    return plain, fast


def same(engines, text):
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for engine in engines:
            patch.setattr(scan, "_hints", lambda engine=engine: engine)
            found.append(scan.search(text))
    assert found[0] == found[1]
    return found[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(TOLD + PLAIN_WORDS), max_size=8), st.sampled_from([" ", "", "\n", '", "', " \x00 "]))
def test_rules_find_the_same_by_both(engines, parts, joint):
    same(engines, joint.join(parts))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from('ab1@.:/=-_+ "\\{}[]<>passwordtokenkey0123456789éß\n'), max_size=120))
def test_rules_find_the_same_in_any_signs(engines, text):
    same(engines, text)


def test_rules_find_the_same_in_a_long_text(engines):
    chance = random.Random(7)
    words = ["".join(chance.choices(string.ascii_letters + string.digits, k=chance.randint(1, 30))) for _ in range(300)]
    text = " ".join(chance.choices([*words, *TOLD, *PLAIN_WORDS], k=250))
    assert len(same(engines, text)) > 20
