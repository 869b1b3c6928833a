"""Knobs: what a policy may move, and the bounds of every number."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from lambda_rl import ControlLaw, Knob


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0.0, -4.0, 0.5), "range reversed or empty: log_low=0.0 must be below log_high=-4.0"),
        ((1.0, 1.0, 0.5), "range reversed or empty"),
        ((-31.0, 0.0, 0.5), "smallest value must be a number from -30 to 30, got -31.0"),
        ((-4.0, 400, 0.5), "largest value must be a number from -30 to 30, got 400"),
        ((-4.0, 10**400, 0.5), "largest value must be a number from -30 to 30, got a whole number of"),
        ((-4.0, 10**5000, 0.5), "largest value"),
        ((-math.inf, 0.0, 0.5), "smallest value"),
        ((-4.0, math.nan, 0.5), "largest value"),
        ((-4.0, True, 0.5), "largest value"),
        ((-4.0, "1", 0.5), "largest value"),
        ((-4.0, None, 0.5), "largest value"),
        ((-4.0, 0.0, 0.0), "max_change must be positive"),
        ((-4.0, 0.0, -1.0), r"max_change \(decades\) must be a number from 0 to 60, got -1.0"),
        ((-4.0, 0.0, 61.0), "max_change"),
        ((-4.0, 0.0, math.nan), "max_change"),
    ],
)
def test_numbers_out_of_bounds_are_refused(numbers: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Knob("lam", *numbers)
    assert "knob lam: " in str(error.value)
    with pytest.raises((ValueError, TypeError)):
        ControlLaw(*numbers)


@pytest.mark.parametrize("name", ["", "λ", "a b", "a\n", "\x1b[2J", "x" * 65, 3, None])
def test_other_names_are_refused(name: object) -> None:
    with pytest.raises(ValueError, match="a knob's name must be 1 to 64 letters") as error:
        Knob(name, -4.0, 0.0, 0.5)  # type: ignore[arg-type]
    assert str(error.value).isprintable()


def test_numbers_become_floats() -> None:
    knob = Knob("layer1.lam", np.int64(-4), Fraction(1, 2), np.float32(0.25))  # type: ignore[arg-type]
    assert knob == Knob("layer1.lam", -4.0, 0.5, 0.25)
    assert {type(number) for number in (knob.log_low, knob.log_high, knob.max_change)} == {float}


def test_the_control_law_is_that_of_its_knob() -> None:
    law = ControlLaw(-4.0, 1.0, 0.25)
    assert law.knob == Knob("lam", -4.0, 1.0, 0.25)
    assert ControlLaw.from_knob(law.knob) == law
    assert ControlLaw.from_knob(Knob("other", -4, 1, 0.25)).apply(0.9, 1.0) == 1.0
    with pytest.raises(ValueError, match="from -30 to 30"):
        ControlLaw(-40.0, 1.0, 0.25)
    with pytest.raises(ValueError, match="from 0 to 60"):
        ControlLaw(-4.0, 1.0, 70.0)
