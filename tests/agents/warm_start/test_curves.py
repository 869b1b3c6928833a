"""Regret curves: zero at the best, smoothed, linear between constants, differentiable."""

import numpy as np
import pytest
import torch

from lambda_rl.agents.warm_start.curves import LOG_KAPPAS, best_log_kappa, kernel, regret_at, regret_curve
from lambda_rl.agents.warm_start.selection import Verdict

GRID = np.array(LOG_KAPPAS)


def test_a_curve_is_zero_at_its_best_and_in_points() -> None:
    accuracy = 0.9 - 0.1 * np.abs(GRID - 0.35)
    regret = regret_curve(accuracy)
    assert regret.min() == 0.0
    assert GRID[regret.argmin()] == pytest.approx(0.35, abs=0.3)
    assert regret[0] == pytest.approx(10 * (2.35 - 0.1), abs=1.0)


def test_smoothing_keeps_what_is_level_and_tames_one_lucky_run() -> None:
    assert kernel().sum(1) == pytest.approx(np.ones(len(GRID)))
    assert regret_curve(np.full(len(GRID), 0.5)) == pytest.approx(np.zeros(len(GRID)))
    lucky = np.full(len(GRID), 0.5)
    lucky[6] += 0.02
    assert regret_curve(lucky).max() < 1.5


def test_the_best_is_in_the_middle_of_what_is_not_told_apart() -> None:
    assert best_log_kappa(np.zeros(len(GRID))) == pytest.approx(GRID.mean())
    regret = np.full(len(GRID), 5.0)
    regret[[3, 4]] = 0.1
    assert best_log_kappa(regret) == pytest.approx(GRID[3:5].mean())


def test_between_constants_it_is_linear_and_beyond_them_level() -> None:
    curves = torch.arange(float(len(GRID))).repeat(5, 1)
    middle = (LOG_KAPPAS[2] + LOG_KAPPAS[3]) / 2
    where = torch.tensor([LOG_KAPPAS[0], middle, LOG_KAPPAS[-1], -9.0, 9.0], requires_grad=True)
    regret = regret_at(curves, where)
    assert regret.tolist() == pytest.approx([0.0, 2.5, len(GRID) - 1.0, 0.0, len(GRID) - 1.0])
    regret.sum().backward()
    assert where.grad is not None
    assert where.grad[1] == pytest.approx(1 / (LOG_KAPPAS[3] - LOG_KAPPAS[2]))
    assert where.grad[3] == where.grad[4] == 0.0


def test_what_is_selected_on_is_not_ruled_by_one_lost_run() -> None:
    def verdict(*regrets: float) -> Verdict:
        return Verdict(float(np.mean(regrets)), max(regrets), 0.0, 0.0, regrets)

    steady, unlucky = verdict(*[3.0] * 10), verdict(*[1.0] * 9, 60.0)
    assert unlucky.regret > steady.regret
    assert unlucky.score > steady.score
    assert verdict(*[1.0] * 10).score > verdict(*[0.0] * 8, 5.0, 5.0).score
