"""What must not be trained in silence stops before the first step, with the cure in the message."""

import json
import math

import pytest

from lunar_tune.artefacts import TokenRow
from lunar_tune.errors import BaseMissing, TrainingError
from lunar_tune.train.tripwires import BaseFacts, check_loss, check_rows, read_base

BASE = BaseFacts(layers=2, vocabulary=50, ends=frozenset({2, 3}), context=6)
GOOD = TokenRow("good", (0, 5, 6, 3), (0, 0, 1, 1))


def test_good_rows_pass_without_a_word():
    assert check_rows([GOOD], [GOOD], BASE) == []


@pytest.mark.parametrize("valid", [[], [TokenRow("context", (0, 5), (0, 0))]])
def test_missing_validation_is_allowed_and_said(valid):
    assert check_rows([GOOD], valid, BASE) == ["no validation rows: the last step's adapter is delivered, not the best"]


def test_a_base_without_end_of_turn_is_said():
    (note,) = check_rows([GOOD], [GOOD], BaseFacts(2, 50, frozenset()))
    assert "names no end-of-turn token" in note


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        ((0, 5, 6, 3), (0, 0, 0, 0), "1 of 2 rows have no supervised token: nothing in them would be learnt"),
        ((0, 5, 6, 3), (0, 0, 1, 0), "1 of 2 rows have an answer without a supervised end-of-turn token"),
        ((0, 5, 6, 3, 7, 8), (0, 0, 1, 1, 0, 1), "an answer without a supervised end-of-turn token"),
        ((0, 5, 6, 3, 3, 8), (0, 0, 1, 0, 0, 1), "an answer without a supervised end-of-turn token"),
        ((0, 5, 6, 7, 8, 9, 3), (0, 0, 0, 0, 0, 1, 1), "are longer than the 6 tokens that the base sees at a time"),
        ((0, 5, 50, 3), (0, 0, 1, 1), "outside the base's vocabulary of 50"),
        ((0, -1, 5, 3), (0, 0, 1, 1), "outside the base's vocabulary of 50"),
        ((0, 5, 3), (0, 0, 1, 1), "ids and mask of different length"),
        ((3,), (1,), "fewer than 2 tokens"),
        ((3, 3), (1, 1), "a supervised first token"),
    ],
)
def test_wrong_rows_stop_training_and_are_named(ids, mask, message):
    with pytest.raises(TrainingError, match=r"1 of \d rows") as caught:
        check_rows([GOOD, TokenRow("bad", ids, mask)], [], BASE)
    assert message in caught.value.message
    assert caught.value.message.endswith(": 'bad'.")
    assert caught.value.hint


def test_of_many_wrong_rows_some_are_named():
    bad = [TokenRow(f"r{n}", (0, 5, 3), (0, 0, 0)) for n in range(8)]
    with pytest.raises(TrainingError, match=r"8 of 9 rows .*: 'r0', 'r1', 'r2', 'r3', 'r4' and 3 more\."):
        check_rows([GOOD, *bad], [], BASE)


def test_nothing_to_train_on():
    with pytest.raises(TrainingError, match="nothing to train on"):
        check_rows([], [GOOD], BASE)


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (2.0, math.nan), (2.0, math.inf)])
def test_a_loss_that_is_no_number_names_step_and_cure(loss, norm):
    with pytest.raises(TrainingError, match=r"diverged at step 17: .* on 'good'") as caught:
        check_loss(loss, norm, 17, [GOOD])
    assert "train.learning_rate" in caught.value.hint
    with pytest.raises(TrainingError, match=r"Before anything was learnt the base gives .* on 'good'") as caught:
        check_loss(loss, norm, 1, [GOOD])
    assert "train.precision" in caught.value.hint


def test_a_loss_that_is_a_number_passes():
    check_loss(0.0, 0.0, 0, [])


def test_facts_of_a_base_come_from_both_configs(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"num_hidden_layers": 3, "vocab_size": 9, "eos_token_id": 4}))
    assert read_base(tmp_path) == BaseFacts(3, 9, frozenset({4}), 0)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [4, 7]}))
    assert read_base(tmp_path) == BaseFacts(3, 9, frozenset({4, 7}))


@pytest.mark.parametrize("text", [None, "{", "[]", '{"num_hidden_layers": 3}'])
def test_an_unusable_base_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(BaseMissing, match=r"config\.json"):
        read_base(tmp_path)
