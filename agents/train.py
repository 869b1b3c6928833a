"""Training an agent: builds the parts, learns, leaves a run folder behind."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from lambda_rl.agents.callbacks import BetweenRollouts, ProgressBar, StopTraining
from lambda_rl.agents.checkpoint import (
    CHECKPOINT_NAME,
    Learner,
    Origin,
    Progress,
    load_checkpoint,
    read_origin,
    read_progress,
    restore,
)
from lambda_rl.agents.config import TrainConfig, check_resumable, load_config, save_config, to_dict
from lambda_rl.agents.export import NORMALIZE_EPSILON, POLICY_NAME, best_policy, code_commit
from lambda_rl.agents.metrics import MetricsCsv
from lambda_rl.agents.tracking import WandbWriter, start_run
from lambda_rl.agents.validation import Validator, training_suite
from lambda_rl.agents.vec_env import SB3VecEnv
from lambda_rl.envs.data import ImageData, load_train
from lambda_rl.envs.suites import Suite
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv
from lambda_rl.files import atomic_write
from lambda_rl.policy_file import save_policy

CONFIG_NAME = "config.yaml"
COMMAND_NAME = "command.txt"
METRICS_NAME = "metrics.csv"


def train(
    config: TrainConfig,
    *,
    command: str = "",
    overwrite: bool = False,
    stop_after: int | None = None,
    show_progress: bool = True,
) -> Path:
    """Trains an agent from the start.

    The same options and seed give the same policy, bit for bit, on the same machine. SB3 uses the global random
    generators of torch, numpy and Python; they are seeded here.

    Args:
        config: all options; what is left open is resolved.
        command: the command line, for the record.
        overwrite: replace a run of the same name.
        stop_after: end after this many rollouts; :func:`resume` goes on from there.
        show_progress: print a progress bar and where things go.

    Returns:
        The run folder: ``config.yaml``, ``command.txt``, ``metrics.csv``, ``checkpoints/``, ``policy.safetensors``.

    Raises:
        ValueError: an option is wrong, or there is a run of that name already.
        FileNotFoundError: the data is not there.
    """
    name = f"{config.preset}-seed{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    config = config.resolved(name)
    folder = config.folder
    if (folder / CONFIG_NAME).exists() and not overwrite:
        raise ValueError(
            f"{folder}: there is a run in this folder; go on with it (--resume {folder}), give another --name, "
            f"or replace it (--overwrite)"
        )
    suite, data = training_suite(config.suite), _load_data(config)
    validator = Validator(config, data) if config.eval_every else None
    learner = _build(config, suite, data)
    # Only now, after all that can be wrong with the options was found.
    for old in (folder / "checkpoints" / CHECKPOINT_NAME, folder / POLICY_NAME, folder / METRICS_NAME):
        old.unlink(missing_ok=True)
    save_config(folder / CONFIG_NAME, config)
    atomic_write(folder / COMMAND_NAME, command + "\n")
    origin = Origin(config, data.name, data.fingerprint, command, code_commit())
    return _learn(learner, Progress(), origin, suite, validator, folder, None, stop_after, show_progress)


def resume(
    folder: Path,
    wanted: TrainConfig | None = None,
    *,
    command: str = "",
    stop_after: int | None = None,
    show_progress: bool = True,
) -> Path:
    """Goes on with a run from its last checkpoint, as if it had never stopped.

    Args:
        folder: run folder.
        wanted: options; None: those of the folder. Only those in ``config.MAY_DIFFER_ON_RESUME`` may differ.
        command: the command line, added to ``command.txt``.
        stop_after: end after this many further rollouts.
        show_progress: print a progress bar and where things go.

    Returns:
        The run folder.

    Raises:
        ValueError: other options or other data than the run was started with, or a broken checkpoint.
        FileNotFoundError: no such run folder, or no checkpoint in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such run folder, cannot resume")
    saved = load_config(folder / CONFIG_NAME).resolved(folder.name)
    config = (wanted or saved).resolved(folder.name)
    check_resumable(saved, config, folder)
    path = folder / "checkpoints" / CHECKPOINT_NAME
    state = load_checkpoint(path)
    origin, progress = read_origin(state, path), read_progress(state)
    check_resumable(origin.config, config, folder)
    place = folder.resolve()
    config = dataclasses.replace(config, name=place.name, out=str(folder.parent))
    suite, data = training_suite(config.suite), _load_data(config)
    if data.fingerprint != origin.data_fingerprint:
        raise ValueError(
            f"{folder}: cannot resume on other data: {config.data} holds images with fingerprint "
            f"{data.fingerprint[:16]}, the run was started on {origin.data_name} with {origin.data_fingerprint[:16]}"
        )
    origin = dataclasses.replace(origin, config=config)
    validator = Validator(config, data) if config.eval_every else None
    learner = _build(config, suite, data)
    restore(state, learner)
    for half in path.parent.glob(f".{path.stem}.*{path.suffix}"):
        half.unlink(missing_ok=True)  # of a write that was killed
    if command:
        log = folder / COMMAND_NAME
        atomic_write(log, (log.read_text(encoding="utf-8") if log.is_file() else "") + command + "\n")
    done = learner.model.num_timesteps
    if show_progress:
        print(f"resuming {folder} after {done:,} of {config.total_decisions:,} decisions")
    return _learn(learner, progress, origin, suite, validator, folder, done, stop_after, show_progress)


def _load_data(config: TrainConfig) -> ImageData:
    """The training images; a failed download is told like any other wrong input."""
    try:
        return load_train(config.data, root=Path(config.data_root) if config.data_root else None)
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def _build(config: TrainConfig, suite: Suite, data: ImageData) -> Learner:
    """Environment, wrappers and PPO, with the global random generators seeded."""
    ppo = config.ppo
    env = CifarLambdaVectorEnv(
        ppo.n_envs,
        suite=suite,
        data=data,
        control=config.control,
        reward=config.reward,
        device=config.device,
        precision=config.precision,
        threads=config.threads,
        compile=config.compile,
    )
    monitor = VecMonitor(SB3VecEnv(env))  # inside the normaliser, so that it sums up true rewards
    normalize = VecNormalize(
        monitor,
        gamma=ppo.gamma,
        clip_obs=ppo.clip_obs,
        clip_reward=ppo.clip_reward,
        epsilon=NORMALIZE_EPSILON,
    )
    final, updates = ppo.final_learning_rate, config.num_rollouts

    def learning_rate(remaining: float) -> float:
        # SB3 counts a rollout as done before its update: remaining is 1 - 1/updates at the first and 0 at the last.
        share = min(1.0, max(0.0, remaining) + 1.0 / updates)
        return ppo.learning_rate * (final + (1.0 - final) * share)

    model = PPO(
        "MlpPolicy",
        normalize,
        learning_rate=learning_rate,
        n_steps=ppo.n_steps,
        batch_size=ppo.batch_size,
        n_epochs=ppo.n_epochs,
        gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        ent_coef=ppo.ent_coef,
        vf_coef=ppo.vf_coef,
        max_grad_norm=ppo.max_grad_norm,
        policy_kwargs={
            "net_arch": {"pi": list(ppo.hidden), "vf": list(ppo.hidden)},
            "log_std_init": ppo.log_std_init,
        },
        seed=config.seed,
        device="cpu",
    )
    # Slot i gets the seed given plus i, so runs with seeds 0 and 1 would share most of their tasks; scattered, they
    # share none.
    normalize.seed(int(np.random.SeedSequence(config.seed).generate_state(1)[0]) % 2**31)
    return Learner(model, normalize, monitor, env)


def _learn(
    learner: Learner,
    progress: Progress,
    origin: Origin,
    suite: Suite,
    validator: Validator | None,
    folder: Path,
    done: int | None,
    stop_after: int | None,
    show_progress: bool,
) -> Path:
    """Learns from where ``learner`` stands to the end; ``done`` is None for a new run."""
    config, model = origin.config, learner.model
    facts = {"data_fingerprint": origin.data_fingerprint, "commit": origin.commit, "command": origin.command}
    tracker = start_run(
        config.wandb,
        name=config.name,
        config={**to_dict(config), **facts},
        dir=folder,
        resume_id=progress.wandb_id,
        say=print if show_progress else _silent,
    )
    with tracker:
        progress.wandb_id = tracker.run_id or progress.wandb_id
        model.set_logger(
            Logger(str(folder), [MetricsCsv(folder / METRICS_NAME, keep_until=done), WandbWriter(tracker)])
        )
        callbacks: list[BaseCallback] = [
            BetweenRollouts(learner, progress, origin, suite, validator, folder, tracker, stop_after)
        ]
        bar = ProgressBar(config.total_decisions, progress) if show_progress else None
        if bar is not None:
            callbacks.append(bar)
        try:
            model.learn(
                config.total_decisions - model.num_timesteps,
                callback=CallbackList(callbacks),
                log_interval=config.num_rollouts
                + 1,  # never: BetweenRollouts writes the log, after the update
                reset_num_timesteps=done is None,
            )
        except StopTraining:
            return folder
        finally:
            if bar is not None:
                bar.stop()
            learner.normalize.close()
        best = best_policy(origin, progress, suite)
        if best is not None:
            save_policy(folder / POLICY_NAME, best)
        if (folder / POLICY_NAME).is_file():
            tracker.log_policy_artifact(
                folder / POLICY_NAME, {"score": progress.best_score, **progress.best_results}
            )
    return folder


def _silent(line: str) -> None:
    """Says nothing."""
