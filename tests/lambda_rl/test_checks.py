"""Values of others in messages: short, and harmless to a terminal."""

from __future__ import annotations

import math

import pytest

from lambda_rl.checks import bounded, bounded_int, cut, did_you_mean, listed, nested_beyond, printable, shown


def test_values_are_shown_short() -> None:
    nested = [[[[[[1]]]]]] * 50
    for value in ("a" * 10**6, [*range(10**5)], {"k" * 10**5: "v" * 10**5}, 10**5000, nested, b"x" * 10**6):
        assert 5 < len(shown(value)) <= 80


def test_deep_values_are_shown() -> None:
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "[[[[...]]]]"
    assert nested_beyond(deep, 50)
    while deep:  # its own end would be recursive, too
        deep = deep.pop()


def test_small_values_are_shown_as_they_are() -> None:
    for value in (1, -0.5, math.nan, None, True, "text", [1, "a"], {"a": 1.5}):
        assert shown(value) == repr(value)
    assert shown("\x1b[2J\u202e") == r"'\x1b[2J\u202e'"
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"


def test_lists_of_names_are_short_and_printable() -> None:
    assert listed([]) == "none"
    assert listed(["a", "b"]) == "a, b"
    assert listed(str(i) for i in range(100)) == "0, 1, 2, 3, 4, 5, 6, 7, and 92 more"
    text = listed(["x" * 10**5, "\x1b]0;title\x07\n"] * 50)
    assert len(text) < 800
    assert text.isprintable()


def test_what_could_act_on_a_terminal_is_replaced() -> None:
    assert printable("λ is 10⁻³, – “so”") == "λ is 10⁻³, – “so”"
    assert printable("a\x1b[2J\u202eb\nc\td\x00\ud800") == "a�[2J�b c d��"
    assert printable("a\nb\tc\x07", keep="\n\t") == "a\nb\tc�"


def test_numbers_within_bounds_pass_and_others_do_not() -> None:
    assert bounded("x", 3, 0, 5) == 3.0
    assert type(bounded("x", 3, 0, 5)) is float
    assert bounded_int("n", 5, 1, 5) == 5
    for value in (True, "3", None, math.nan, math.inf, -1, 10**400, [3]):
        with pytest.raises(ValueError, match=r"^x must be a number from 0 to 5, got "):
            bounded("x", value, 0, 5)
    for value in (True, "3", None, 2.0, 0, 10**400):
        with pytest.raises(ValueError, match=r"^n must be a whole number from 1 to 5, got "):
            bounded_int("n", value, 1, 5)


def test_nesting_counts_lists_and_objects() -> None:
    assert not nested_beyond(1, 0)
    assert nested_beyond([], 0)
    assert not nested_beyond({"a": [1, {"b": "text"}]}, 3)
    assert nested_beyond({"a": [1, {"b": "text"}]}, 2)


def test_a_name_that_is_like_another_is_told() -> None:
    names = ("quick", "quick-held-out", "cifar-mlp")
    assert did_you_mean("quick-heldout", names) == "; did you mean 'quick-held-out'?"
    assert did_you_mean("quik" + "x" * 10**6, ["quik" + "x" * 70]) == f"; did you mean {'quik' + 'x' * 70!r}?"
    for unlike in ("resnet", "", None, 10**5000):
        assert did_you_mean(unlike, names) == ""
