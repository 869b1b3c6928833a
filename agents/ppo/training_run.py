"""What belongs to one training run while it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from lambda_rl.agents.ppo.checkpoint import Learner, Origin, Progress, save_checkpoint
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.validation import Validator
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.agents.record.tracking import Tracker
from lambda_rl.envs.tasks.suites import Suite


@dataclass
class TrainingRun:
    """A training run: who learns, how far it is, where it comes from and where it is kept.

    Attributes:
        folder: where it is kept.
        origin: options, data, command and commit.
        progress: what has been reached; kept up to date by ``BetweenRollouts``.
        learner: agent and environment.
        suite: training tasks.
        validator: plays the validation tasks; None: no validation, the last policy is kept.
        tracker: where numbers are shown.
        best_constant: score of the best constant on the validation tasks, for comparison; None: not measured, as where
            nobody watches.
    """

    folder: RunFolder
    origin: Origin
    progress: Progress
    learner: Learner
    suite: Suite
    validator: Validator | None
    tracker: Tracker = field(default_factory=lambda: Tracker(None, "disabled"))
    best_constant: float | None = None

    @property
    def config(self) -> TrainConfig:
        """All options."""
        return self.origin.config

    def save(self) -> None:
        """Writes a checkpoint."""
        save_checkpoint(self.folder, self.learner, self.progress, self.origin)
