"""What happens beside learning: validation, the learning curve, checkpoints, the progress bar."""

from __future__ import annotations

import time
import typing
from collections.abc import Callable

import numpy as np
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback

from lambda_rl.agents.ppo.checkpoint import Progress, obs_moments
from lambda_rl.agents.ppo.export import actor_arrays, best_policy, make_card, make_policy
from lambda_rl.agents.ppo.training_run import TrainingRun
from lambda_rl.agents.ppo.vec_env import SB3VecEnv
from lambda_rl.agents.presenting.progress import Bar
from lambda_rl.policy.file import save_policy


class StopTraining(Exception):  # noqa: N818 - no error, a way out of SB3's loop
    """Ends a session early, after a checkpoint; the run can be resumed."""


class BetweenRollouts(BaseCallback):
    """Validates, writes the row of the learning curve and saves a checkpoint after each rollout and its update.

    SB3 has no hook after an update; the start of the next rollout (or the end of training) is that moment: the
    rollout buffer is done with, and nothing random has been drawn yet.

    Args:
        run: what is trained; its progress is kept up to date here.
        stop_after: raise :class:`StopTraining` after this many rollouts of this session; None: go to the end.
    """

    def __init__(self, run: TrainingRun, stop_after: int | None = None) -> None:
        super().__init__()
        self.run = run
        self.stop_after = stop_after
        self._rollouts = 0
        self._last = 0
        self._clock = time.monotonic()
        # Seconds of this rollout in which validation ran, less those of the environment before it.
        self._ours = 0.0

    def _on_training_start(self) -> None:
        self._last = self.model.num_timesteps
        self._clock = time.monotonic()
        self._ours = -self._env_seconds
        if self._last == 0:
            self.run.save()  # from now on, a run that is killed need not start again

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps > self._last:
            self._after_update()

    def _on_training_end(self) -> None:
        if self.model.num_timesteps > self._last:
            self._after_update()

    def _on_step(self) -> bool:
        return True

    def _after_update(self) -> None:
        decisions = self.model.num_timesteps
        config = self.run.config
        number = decisions // config.ppo.rollout_size
        final = number >= config.num_rollouts
        self._rollouts += 1
        self._record_rollout(decisions - self._last)
        self._last = decisions
        if final or (config.eval_every and number % config.eval_every == 0):
            start = time.monotonic()
            self._validate(decisions)
            self._ours += time.monotonic() - start
        self.logger.dump(decisions)
        stop = self.stop_after is not None and self._rollouts >= self.stop_after and not final
        if final or stop or number % config.checkpoint_every == 0:
            self.run.save()
        if stop:
            raise StopTraining

    @property
    def _env_seconds(self) -> float:
        """Seconds that steps of the environment have taken so far."""
        return typing.cast(SB3VecEnv, self.run.learner.monitor.venv).env_seconds

    def _record_rollout(self, decisions: int) -> None:
        now = time.monotonic()
        self.logger.record("time/decisions_per_second", decisions / max(now - self._clock, 1e-9))
        self.run.progress.elapsed += now - self._clock
        ours = self._env_seconds + self._ours
        self.logger.record("time/ppo_share", max(0.0, 1.0 - ours / max(now - self._clock, 1e-9)))
        self._clock, self._ours = now, -self._env_seconds
        self.logger.record("time/elapsed", self.run.progress.elapsed)
        episodes = self.model.ep_info_buffer
        if episodes:
            self.logger.record("rollout/return_mean", float(np.mean([float(e["r"]) for e in episodes])))
            self.logger.record("rollout/length_mean", float(np.mean([int(e["l"]) for e in episodes])))

    def _validate(self, decisions: int) -> None:
        run, progress = self.run, self.run.progress
        moments, clip_obs = obs_moments(run.learner.normalize), run.config.ppo.clip_obs
        arrays = actor_arrays(run.learner.model.policy.state_dict(), moments.mean, moments.var)
        if run.validator is None:
            card = make_card(run.origin, run.suite, {"after_decisions": decisions})
            save_policy(run.folder.policy, make_policy(arrays, clip_obs, card))
            return
        policy = make_policy(arrays, clip_obs, make_card(run.origin, run.suite))
        validation = run.validator(policy)
        progress.last_score = validation.score
        if progress.best_score is None or validation.score > progress.best_score:
            progress.best_score, progress.best_decisions = validation.score, decisions
            progress.best_actor, progress.best_results = arrays, validation.results
            best = best_policy(run.origin, progress, run.suite)
            assert best is not None
            save_policy(run.folder.policy, best)
        self.logger.record("validation/score", validation.score)
        self.logger.record("validation/best_score", progress.best_score)
        for key, value in validation.results.items():
            self.logger.record(f"validation/{key}", value)
        if run.tracker.mode != "disabled":
            if run.best_constant is None:
                run.best_constant = run.validator.best_constant(policy)
            # The same each time: a line to read the scores by.
            run.tracker.log({"validation/best_constant_score": run.best_constant}, decisions)
        run.tracker.log_lambda_trajectories(validation.trajectories, name="validation", step=decisions)
        if validation.results.get("diverged"):
            run.tracker.alert(
                "validation runs diverged",
                f"{validation.results['diverged']:g} of them, at {decisions} decisions",
            )


class ProgressBar(BaseCallback):
    """A bar with time left and the current score; on anything but a terminal, a line for each new score.

    Args:
        total: decisions of the whole run.
        progress: where the scores come from.
        best_constant: gives the score of the best constant, if it is known by now.
        console: None: standard output.
    """

    def __init__(
        self,
        total: int,
        progress: Progress,
        console: Console | None = None,
        best_constant: Callable[[], float | None] = lambda: None,
    ) -> None:
        super().__init__()
        self.total, self.progress, self.best_constant = total, progress, best_constant
        self.console = console or Console(highlight=False)
        self._bar = Bar(
            "training", self.console, unit="decisions", width=24, period=300.0, below=True, lines="none"
        )
        self._shown, self._note = progress.last_score, ""
        self._start = (0, 0.0)

    def _on_training_start(self) -> None:
        self._start = (self.model.num_timesteps, time.monotonic())
        self._bar.start()
        self._tell()

    def _on_step(self) -> bool:
        self._bar(min(self.model.num_timesteps, self.total), self.total, self._note)
        return True

    def _on_rollout_start(self) -> None:
        self._tell()

    def _on_training_end(self) -> None:
        self._tell()
        self.stop()

    def stop(self) -> None:
        """Takes the bar off the screen."""
        self._bar.stop()

    def _tell(self) -> None:
        score, best, episodes = self.progress.last_score, self.progress.best_score, self.model.ep_info_buffer
        parts = [f"return {np.mean([float(e['r']) for e in episodes]):+.3f}"] if episodes else []
        if score is not None and best is not None:
            constant = self.best_constant()
            beside = "" if constant is None else f", best constant {constant:+.4f}"
            parts.append(f"validation score {score:+.4f} (best {best:+.4f}{beside})")
        self._note = ", ".join(parts)
        self._on_step()
        if self.console.is_terminal or score == self._shown:
            return
        self._shown = score
        decisions, (first, since) = self.model.num_timesteps, self._start
        left = (time.monotonic() - since) / max(decisions - first, 1) * max(self.total - decisions, 0)
        minutes, seconds = divmod(round(left), 60)
        self.console.print(
            f"{decisions:>9,} of {self.total:,} decisions, {minutes}:{seconds:02d} left, {self._note}",
            soft_wrap=True,
        )
