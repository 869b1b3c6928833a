"""Training an agent: builds the parts, learns, leaves a run folder behind."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from lambda_rl.agents.clusters import Cluster, ClusterVectorEnv, alike
from lambda_rl.agents.ppo.between_rollouts import BetweenRollouts, ProgressBar, StopTraining
from lambda_rl.agents.ppo.checkpoint import Learner, Origin, Progress, read_origin, read_progress, restore
from lambda_rl.agents.ppo.checkpoint_file import load_newest
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.config_file import check_resumable, load_config, save_config, to_dict
from lambda_rl.agents.ppo.export import NORMALIZE_EPSILON, best_policy
from lambda_rl.agents.ppo.training_run import TrainingRun
from lambda_rl.agents.ppo.validation import Validator
from lambda_rl.agents.ppo.vec_env import SB3VecEnv
from lambda_rl.agents.record.metrics import MetricsCsv
from lambda_rl.agents.record.provenance import code_commit, told_options, without_places
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.agents.record.start_tracking import About, start_run
from lambda_rl.agents.record.tracking import WandbWriter
from lambda_rl.envs.data import ImageData, Images
from lambda_rl.envs.tasks.suites import Suite, load_suite
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv
from lambda_rl.policy.file import load_policy, save_policy
from lambda_rl.policy.text import describe

_AS_SB3_NAMES_THEM = (
    "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "clip_range", "ent_coef", "vf_coef", "max_grad_norm",
)  # fmt: skip


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
        The run folder, see :class:`~lambda_rl.agents.record.run_folder.RunFolder`.

    Raises:
        ValueError: an option is wrong, there is a run of that name already, or another process trains in its folder.
        FileNotFoundError: the data is not there.
        OSError: the folder cannot be written to.
    """
    config = config.named()
    config = config.resolved(config.name)
    folder = RunFolder(config.folder)
    if not overwrite:
        folder.refuse_run()
    suite, data, validator = _load(config)
    learner = _build(config, suite, data)
    # Only now, after all that can be wrong with the options was found, is anything written.
    with folder.locked():
        if not overwrite:
            folder.refuse_run()  # another process may have been quicker
        folder.sweep()
        folder.clear()
        # Before the configuration, which makes it a run: one that is killed here can still tell what started it.
        folder.record_command(command, first=True)
        save_config(folder.config, config)
        origin = _origin(config, data, command)
        run = TrainingRun(folder, origin, Progress(), learner, suite, validator)
        _learn(run, None, stop_after, show_progress)
    return folder.path


def resume(
    folder: Path,
    wanted: TrainConfig | None = None,
    *,
    command: str = "",
    stop_after: int | None = None,
    show_progress: bool = True,
) -> Path:
    """Goes on with a run from its last checkpoint, as if it had never stopped.

    Where the last checkpoint is damaged, the run goes on from the one before it, with a warning. A run that was
    killed before its first checkpoint starts from the beginning.

    Args:
        folder: run folder.
        wanted: options; None: those of the folder. Only those in ``config_file.MAY_DIFFER_ON_RESUME`` may differ.
        command: the command line, added to ``command.txt``.
        stop_after: end after this many further rollouts.
        show_progress: print a progress bar and where things go.

    Returns:
        The run folder.

    Raises:
        ValueError: other options or other data than the run was started with, damaged checkpoints, or another process
            trains in the folder.
        FileNotFoundError: no such run folder, or its checkpoints are gone.
        OSError: the folder cannot be written to.
    """
    place = RunFolder(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such run folder, cannot resume")
    if not place.config.is_file():  # before a lock is left in a folder that is none of ours
        raise FileNotFoundError(f"{place.config}: no such file; is this a run folder?")
    with place.locked():
        place.sweep()
        run, done = _take_up(place, wanted, command)
        if command:
            place.record_command(command)
        if show_progress:
            print(f"resuming {folder} after {done or 0:,} of {run.config.total_decisions:,} decisions")
        _learn(run, done, stop_after, show_progress)
    return folder


def _take_up(place: RunFolder, wanted: TrainConfig | None, command: str) -> tuple[TrainingRun, int | None]:
    """A run as its last checkpoint has it, and the decisions done; None if it is to start from the beginning."""
    folder = place.path
    saved = load_config(place.config).resolved(folder.name)
    config = (wanted or saved).resolved(folder.name)
    check_resumable(saved, config, folder)
    found = load_newest(place)
    if found is None and place.has_results():
        raise FileNotFoundError(
            f"{place.latest}: no such checkpoint, so there is nothing to resume; the run had got on, so it is not "
            f"started again by itself (--overwrite does)"
        )
    if found is not None:
        state, path = found
        origin, progress = read_origin(state, path), read_progress(state, path)
        check_resumable(origin.config, config, folder)
    config = dataclasses.replace(config, name=folder.resolve().name, out=str(folder.parent))
    suite, data, validator = _load(config)
    if found is None:
        origin, progress = _origin(config, data, place.first_command() or command), Progress()
    elif _fingerprint(data) != origin.data_fingerprint:
        raise ValueError(
            f"{folder}: cannot resume on other data: {config.data} holds images with fingerprint "
            f"{_fingerprint(data)[:16]}, the run was started on {origin.data_name} with {origin.data_fingerprint[:16]}"
        )
    learner = _build(config, suite, data)
    run = TrainingRun(place, dataclasses.replace(origin, config=config), progress, learner, suite, validator)
    if found is None:
        return run, None
    restore(state, learner, path)
    if path == place.previous:
        place.go_back()
    return run, learner.model.num_timesteps


def _origin(config: TrainConfig, data: Mapping[str, ImageData], command: str) -> Origin:
    """Where a run comes from that is started now."""
    names = ", ".join(dict.fromkeys(part.name for part in data.values()))
    return Origin(config, names, _fingerprint(data), command, code_commit())


def _fingerprint(data: Mapping[str, ImageData]) -> str:
    """Digest of all images: of one data set its own, of several of theirs."""
    prints = [part.fingerprint for _, part in sorted(data.items())]
    return prints[0] if len(prints) == 1 else hashlib.sha256("".join(prints).encode()).hexdigest()


def _load(config: TrainConfig) -> tuple[Suite, Mapping[str, ImageData], Validator | None]:
    """Training tasks, training images and validation."""
    # Whatever fold the suite is made for: an agent must never see the images that it is judged on.
    suite = load_suite(config.suite).on("agent")
    data = config.load_parts("train", suite.datasets)
    return suite, data, Validator(config, data) if config.eval_every else None


def _build(config: TrainConfig, suite: Suite, data: Images) -> Learner:
    """Environment, wrappers and PPO, with the global random generators seeded."""
    ppo = config.ppo
    env = environment(config, suite, data)
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
        **{name: getattr(ppo, name) for name in _AS_SB3_NAMES_THEM},
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


def environment(config: TrainConfig, suite: Suite, data: Images) -> CifarLambdaVectorEnv | ClusterVectorEnv:
    """The slots, here or with workers of a cluster, of one core each."""
    make = functools.partial(
        CifarLambdaVectorEnv,
        suite=suite,
        data=data,
        unit=config.unit,
        control=config.control,
        knobs=config.knobs,
        features=config.features,
        reward=config.reward,
        device=config.device,
        precision=config.precision,
        threads=1 if config.ray else config.threads,
        compile=config.compile,
    )
    if not config.ray:
        return make(config.ppo.n_envs)
    return ClusterVectorEnv(Cluster(config.ray), alike(make), config.ppo.n_envs, config.ray_workers)


def _learn(run: TrainingRun, done: int | None, stop_after: int | None, show_progress: bool) -> None:
    """Learns from where the learner stands to the end; ``done`` is None for a new run."""
    config, model, progress = run.config, run.learner.model, run.progress
    run.tracker = start_run(
        config.wandb,
        name=config.name,
        config=_told_options(run.origin),
        dir=run.folder.path,
        about=_about(config),
        resume_id=progress.wandb_id,
        say=print if show_progress else lambda line: None,
    )
    with run.tracker:
        progress.wandb_id = run.tracker.run_id or progress.wandb_id
        writers = [MetricsCsv(run.folder.metrics, keep_until=done), WandbWriter(run.tracker)]
        model.set_logger(Logger(str(run.folder.path), writers))
        callbacks: list[BaseCallback] = [BetweenRollouts(run, stop_after)]
        shown = ProgressBar(config.total_decisions, progress, best_constant=lambda: run.best_constant)
        bar = shown if show_progress else None
        if bar is not None:
            callbacks.append(bar)
        try:
            model.learn(
                config.total_decisions - model.num_timesteps,
                callback=CallbackList(callbacks),
                # never: BetweenRollouts writes the log, after the update
                log_interval=config.num_rollouts + 1,
                reset_num_timesteps=done is None,
            )
        except StopTraining:
            return
        finally:
            if bar is not None:
                bar.stop()
            run.learner.normalize.close()
        best = best_policy(run.origin, progress, run.suite)
        if best is not None:
            save_policy(run.folder.policy, best)
        if run.folder.policy.is_file():
            _publish(run)


def _about(config: TrainConfig) -> About:
    """How the run is found again in a tracker."""
    said = (config.preset, without_places(config.suite), without_places(config.data), f"seed{config.seed}")
    return About(
        group=config.wandb_group or config.name,
        job_type="train",
        tags=(*config.wandb_tags, *said),
        notes=config.wandb_notes,
        best={"validation/score": "max", "validation/outer_accuracy": "max", "validation/outer_loss": "min"},
    )


def _publish(run: TrainingRun) -> None:
    """Hands the policy to the tracker, with all that says what it is."""
    progress = run.progress
    run.tracker.log_policy_artifact(
        run.folder.policy,
        {"score": progress.best_score, **progress.best_results, "options": _told_options(run.origin)},
        card=describe(load_policy(run.folder.policy)),
        beside=[run.folder.metrics],
        aliases=["best"] if run.validator is not None else [],
    )


def _told_options(origin: Origin) -> dict[str, Any]:
    """What a tracker may show of a run: its options, without the places of this machine, and where it comes from."""
    return {
        **told_options(to_dict(origin.config)),
        "data_fingerprint": origin.data_fingerprint,
        "commit": origin.commit,
        "command": origin.command,
    }
