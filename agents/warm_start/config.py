"""All options of a warm start."""

from __future__ import annotations

from dataclasses import dataclass, field

from lambda_rl.agents.options import MOST, ClusterOptions, ComputeOptions, DataOptions, check_run_name
from lambda_rl.agents.warm_start.committee import CommitteeConfig
from lambda_rl.agents.warm_start.episodes import Exploration
from lambda_rl.agents.warm_start.imitation import ImitationConfig
from lambda_rl.agents.warm_start.reinforce import ReinforceConfig
from lambda_rl.checks import bounded, bounded_int
from lambda_rl.control import KAPPA_LAW, ControlLaw


@dataclass(frozen=True, kw_only=True)
class WarmStartConfig(ClusterOptions, ComputeOptions, DataOptions):
    """Trains a policy on regret curves of constants, for loops of any kind.

    Attributes:
        name: name of the run and of its folder; empty: made from suite, seed and time.
        out: folder that run folders are made in.
        suite: training tasks.
        validation_suite: tasks that the best actor is selected on.
        validation_seeds: runs of each of them, if they are a list.
        validation_tasks: how many of them, if they are a distribution.
        rounds: of playing and fitting.
        tasks: tasks in a round.
        seed: of all that is random.
        eval_every: rounds between two validations.
        branch_after: share of the rounds after which some constants begin where the actor has come to.
        branch: share of the tasks then whose constants do.
        hidden: units of the actor's hidden layers (tanh).
        control: range of log₁₀ κ, and how far a decision may move it.
        decisions: that the policy makes in a user's loop, if the user does not say.
        exploration: how copies of the actor leave its way.
        imitation: how the actor is fitted.
        reinforce: PPO after it.
        committee: what is handed on.
        together: names of runs in the same folder, whose experience this one begins with; with rounds 0, it plays
            nothing of its own, and makes the committee of what they have played.
    """

    name: str = ""
    out: str = "runs"
    suite: str = "any-loop"
    validation_suite: str = "any-loop-validation"
    validation_seeds: int = 1
    validation_tasks: int = 64
    rounds: int = 40
    tasks: int = 32
    seed: int = 0
    eval_every: int = 10
    branch_after: float = 0.15
    branch: float = 0.5
    hidden: tuple[int, ...] = (64, 64)
    control: ControlLaw = KAPPA_LAW
    decisions: int = 20
    exploration: Exploration = field(default_factory=Exploration)
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    reinforce: ReinforceConfig = field(default_factory=ReinforceConfig)
    committee: CommitteeConfig = field(default_factory=CommitteeConfig)
    together: tuple[str, ...] = ()

    def check_all(self) -> None:
        """Checks what can be checked without reading anything.

        Raises:
            ValueError: an option is out of its range.
        """
        self.check()
        self.check_cores(self.device)
        for name in ("validation_seeds", "validation_tasks", "rounds", "tasks", "eval_every", "decisions"):
            least = 0 if name == "rounds" and self.together else 1
            bounded_int(f"--{name.replace('_', '-')}", getattr(self, name), least, MOST)
        bounded_int("--seed", self.seed, 0, 2**32 - 1)
        for name in ("branch", "branch_after"):
            bounded(f"--{name.replace('_', '-')}", getattr(self, name), 0.0, 1.0)
        for name in (self.name, *self.together):
            check_run_name(name)
