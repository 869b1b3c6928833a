"""A new optimizer is one class and one registration."""

from pathlib import Path

from torch import Tensor
from whole_way import compared, deploy, loaded, loss_of, suite_file, trained_and_exported

from lambda_rl.envs.optimizers import OPTIMIZERS, StackedOptimizer, StepInputs, per_network


class SignSGD(StackedOptimizer):
    """The sign of the averaged gradient (Bernstein et al. 2018)."""

    state_names = ("average",)

    def step(self, weight: Tensor, grad: Tensor, state: dict[str, Tensor], inputs: StepInputs) -> None:
        average = state["average"]
        average.lerp_(grad, per_network(1 - inputs["momentum"], weight))
        weight.addcmul_(average.sign(), per_network(inputs["learning_rate"], weight), value=-1)


def test_an_optimizer_goes_the_whole_way(tmp_path: Path) -> None:
    with OPTIMIZERS.temporarily("signsgd", SignSGD()):
        suite = suite_file(tmp_path, optimizer="signsgd", learning_rate=0.01)
        path = trained_and_exported(tmp_path, suite)
        deploy(loaded(path))
        ours = compared(tmp_path, suite, path)
        theirs = compared(
            tmp_path / "adam", suite_file(tmp_path, "adam", optimizer="adamw", learning_rate=0.01), path
        )
    assert loss_of(ours, "constant:0.01") != loss_of(theirs, "constant:0.01")
