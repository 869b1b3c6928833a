"""A new penalty is one class and one registration."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from whole_way import (
    FACTS,
    compared,
    decided,
    deployed,
    loaded,
    loss_of,
    losses,
    model,
    suite_file,
    trained_and_exported,
)

import lambda_rl
from lambda_rl.penalties import PENALTIES, Penalty


class GroupLasso(Penalty):
    """Σ of the norms of the weights into each unit (Yuan & Lin 2006): no sum over single weights."""

    def values(self, stacked: Tensor) -> Tensor:
        return self._norms(stacked).sum(1)

    def gradient(self, stacked: Tensor) -> Tensor:
        return stacked / self._norms(stacked).view(*stacked.shape[:2], *[1] * (stacked.dim() - 2))

    @staticmethod
    def _norms(stacked: Tensor) -> Tensor:
        return (stacked.flatten(2).square().sum(2) + 1e-12).sqrt()


def test_a_penalty_goes_the_whole_way(tmp_path: Path) -> None:
    with PENALTIES.temporarily("group-lasso", GroupLasso()):
        suite = suite_file(tmp_path, penalty="group-lasso")
        path = trained_and_exported(tmp_path, suite)
        policy = loaded(path)
        assert policy.card.penalty == "group-lasso"

        network = model()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        weights = lambda_rl.penalised_weights(network).values()
        schedule = deployed(
            policy,
            facts=FACTS,
            weight_norm=float(torch.cat([w.detach().flatten() for w in weights]).norm()),
            penalty_sum=float(lambda_rl.penalty(network, "group-lasso")),
        )
        for progress, loss in losses(network):
            optimizer.zero_grad()
            (loss + schedule.value * lambda_rl.penalty(network, "group-lasso")).backward()
            optimizer.step()
            decided(schedule, loss, progress)

        of_group_lasso = compared(tmp_path, suite, path)
        of_l2 = compared(tmp_path / "l2", suite_file(tmp_path, "l2", penalty="l2"), path)
    assert loss_of(of_group_lasso, "constant:0.1") != loss_of(of_l2, "constant:0.1")  # it acts on the runs
    with pytest.raises(ValueError, match="group-lasso"):  # and is gone
        lambda_rl.load_policy(path)
