"""All options of a training run, as dataclasses: they are the command line, ``config.yaml`` and the presets."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from lambda_rl.control import ControlLaw
from lambda_rl.envs.hardware.device import PRECISIONS, available_cores, resolve_device
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import suite_names
from lambda_rl.files import atomic_write

T = TypeVar("T")

MAY_DIFFER_ON_RESUME = frozenset(
    {"data", "data_root", "threads", "wandb", "name", "out", "checkpoint_every", "preset"}
)
"""Options that do not change what is learned: where things lie, how many cores, how often to save.

``data`` is among them because an archive may have moved; that its *content* is the same is checked by fingerprint.
``device`` and ``precision`` are not, since they change every number; nor is ``total_decisions``, which the learning
rate's schedule depends on.
"""


def _at_least(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be finite and positive, got {value!r}")


@dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347).

    Attributes:
        n_envs: inner runs trained side by side.
        n_steps: decisions per slot in a rollout; a rollout has n_envs x n_steps decisions.
        n_epochs: passes over a rollout.
        batch_size: decisions in a minibatch.
        learning_rate: Adam's, at the start.
        final_learning_rate: its share that is left at the end; it falls linearly.
        gamma: discount; 1, since the rewards of an episode sum to its final score.
        gae_lambda: of generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438).
        clip_range: of the probability ratio.
        ent_coef: weight of the entropy bonus.
        vf_coef: weight of the value loss.
        max_grad_norm: gradients are clipped to this norm.
        hidden: units of the actor's and of the critic's hidden layers (tanh).
        log_std_init: log of the exploration noise at the start.
        clip_obs: observations are clipped to this many standard deviations.
        clip_reward: normalised rewards are clipped to this.
    """

    n_envs: int = 16
    n_steps: int = 120
    n_epochs: int = 10
    batch_size: int = 480
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.0
    gamma: float = 1.0
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    hidden: tuple[int, ...] = (64, 64)
    log_std_init: float = -0.7
    clip_obs: float = 10.0
    clip_reward: float = 10.0

    def __post_init__(self) -> None:
        """Checks every number."""
        for name in ("n_envs", "n_steps", "n_epochs"):
            _at_least(f"ppo.{name}", getattr(self, name), 1)
        _at_least("ppo.batch_size", self.batch_size, 2)
        if self.batch_size > self.rollout_size or self.rollout_size % self.batch_size:
            raise ValueError(
                f"ppo.batch_size={self.batch_size} must divide a rollout of n_envs x n_steps = "
                f"{self.n_envs} x {self.n_steps} = {self.rollout_size} decisions"
            )
        for name in ("learning_rate", "clip_range", "max_grad_norm", "clip_obs", "clip_reward"):
            _positive(f"ppo.{name}", getattr(self, name))
        for name in ("gamma", "gae_lambda", "final_learning_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"ppo.{name} must lie in [0, 1], got {getattr(self, name)!r}")
        if not self.hidden or any(units < 1 for units in self.hidden):
            raise ValueError(
                f"ppo.hidden must name at least one layer of at least 1 unit, got {self.hidden!r}"
            )

    @property
    def rollout_size(self) -> int:
        """Decisions in a rollout."""
        return self.n_envs * self.n_steps


@dataclass(frozen=True)
class TrainConfig:
    """A training run of an agent.

    Attributes:
        preset: named set of options to start from.
        name: name of the run and of its folder; empty: made from preset, seed and time.
        out: folder that run folders are made in.
        suite: training tasks, a built-in name or a YAML file.
        validation_suite: tasks that the best policy is selected on; empty: <suite>-validation if there is one, else
            the suite itself.
        data: synthetic, synthetic:SEED, cifar10, cifar100, or folder:PATH (directory or tar archive).
        data_root: where cifar10 and cifar100 are downloaded to; empty: the user's cache folder.
        total_decisions: decisions in all, rounded up to whole rollouts.
        seed: of the agent and of the sequence of tasks.
        device: of inner training: auto, cpu, cuda or cuda:N. The agent itself always runs on the CPU.
        precision: of inner training: auto, fp32, bf16 or fp64.
        threads: CPU threads of inner training; 0: one per core.
        compile: compile the training step (see :class:`~lambda_rl.envs.training.trainer.TrainerConfig`).
        wandb: Weights & Biases; online becomes offline where no key is set.
        eval_every: rollouts between two validations; 0: never, and the last policy is kept.
        eval_seeds: seeds per validation task.
        checkpoint_every: rollouts between two checkpoints.
        ppo: the algorithm.
        control: how an action moves λ.
        knobs: names of knobs that are moved beside λ.
        features: names of what the agent observes; by default all that are registered.
        reward: the score that is learned on.
    """

    preset: str = "quick"
    name: str = ""
    out: str = "runs"
    suite: str = "quick"
    validation_suite: str = ""
    data: str = "synthetic"
    data_root: str = ""
    total_decisions: int = 38_400
    seed: int = 0
    device: str = "cpu"
    precision: str = "auto"
    threads: int = 0
    compile: bool = False
    wandb: Literal["online", "offline", "disabled"] = "online"
    eval_every: int = 5
    eval_seeds: int = 1
    checkpoint_every: int = 1
    ppo: PPOConfig = field(default_factory=PPOConfig)
    control: ControlLaw = field(default_factory=ControlLaw)
    knobs: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None
    reward: RewardConfig = field(default_factory=RewardConfig)

    def __post_init__(self) -> None:
        """Checks every option that can be checked without reading anything."""
        for name in ("total_decisions", "eval_seeds", "checkpoint_every"):
            _at_least(name, getattr(self, name), 1)
        for name in ("seed", "threads", "eval_every"):
            _at_least(name, getattr(self, name), 0)
        if self.seed >= 2**32:
            raise ValueError(f"seed must be below 2**32, got {self.seed}")
        for name in ("suite", "data", "out"):
            if not getattr(self, name):
                raise ValueError(f"{name} must not be empty")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r}")
        if Path(self.name).name != self.name or self.name in (".", ".."):
            raise ValueError(
                f"name must be a plain folder name, got {self.name!r} (--out says where it lies)"
            )
        if not self.name.isprintable():  # it is shown in terminals and in commands to be copied
            raise ValueError(f"name must be printable, without line breaks or escapes, got {self.name!r}")

    def resolved(self, default_name: str) -> TrainConfig:
        """The same run with nothing left open.

        Args:
            default_name: the name where none is given.

        Raises:
            ValueError: the device is unknown or not there.
        """
        rollouts = math.ceil(self.total_decisions / self.ppo.rollout_size)
        return dataclasses.replace(
            self,
            name=self.name or default_name,
            validation_suite=self.validation_suite or default_validation_suite(self.suite),
            total_decisions=rollouts * self.ppo.rollout_size,
            device=str(resolve_device(self.device)),
            threads=self.threads or available_cores(),
        )

    @property
    def num_rollouts(self) -> int:
        """Rollouts in the whole run."""
        return math.ceil(self.total_decisions / self.ppo.rollout_size)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.out) / self.name


_CIFAR = TrainConfig(
    data="cifar10",
    eval_every=5,
    eval_seeds=2,
    ppo=PPOConfig(n_envs=32, n_steps=60),
    reward=RewardConfig(log_loss_weight=0.5, outer_size=300),
)

PRESETS: dict[str, TrainConfig] = {
    # Many small updates: it has to get somewhere in two minutes.
    "quick": TrainConfig(
        total_decisions=40_320,
        eval_every=14,
        eval_seeds=2,
        ppo=PPOConfig(n_envs=32, n_steps=15, batch_size=240),
        reward=_CIFAR.reward,
    ),
    "cifar-mlp": replace(
        _CIFAR, preset="cifar-mlp", suite="cifar-mlp", total_decisions=134_400, compile=True
    ),
    "cifar-cnn": replace(_CIFAR, preset="cifar-cnn", suite="cifar-cnn", total_decisions=76_800, compile=True),
    "cifar-mixed": replace(
        _CIFAR,
        preset="cifar-mixed",
        suite="cifar-mixed",
        total_decisions=61_440,
        eval_every=4,
        eval_seeds=1,
        compile=True,
    ),
    "cifar-resnet9": replace(
        _CIFAR, preset="cifar-resnet9", suite="cifar-resnet9", total_decisions=57_600, device="auto"
    ),
}
"""Named starting points. ``quick`` needs no download and takes minutes; ``cifar-resnet9`` wants a GPU."""


def preset(name: str) -> TrainConfig:
    """The preset of that name.

    Raises:
        ValueError: there is none; the message lists them.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; allowed are {', '.join(PRESETS)}")
    return PRESETS[name]


def default_validation_suite(suite: str) -> str:
    """``<suite>-validation`` if there is one, else the suite itself (a suite file is used with other seeds)."""
    name = f"{suite}-validation"
    return name if name in suite_names() else suite


def to_dict(config: object) -> dict[str, Any]:
    """A dataclass as nested plain values (dicts, lists, numbers, text), fit for YAML."""
    return {
        item.name: _plain(getattr(config, item.name))
        for item in dataclasses.fields(typing.cast(Any, config))
    }  # fmt: skip


def from_dict(cls: type[T], mapping: Mapping[str, Any], where: str = "config") -> T:
    """A dataclass from what :func:`to_dict` gave; options that are left out keep their defaults.

    Args:
        cls: the dataclass.
        mapping: option names to values, nested.
        where: what to call it in an error.

    Raises:
        ValueError: unknown option, or a value of the wrong type or out of range.
    """
    if not isinstance(mapping, Mapping):
        raise ValueError(f"{where}: expected a mapping of options, got {mapping!r}")
    hints = typing.get_type_hints(cls)
    names = [item.name for item in dataclasses.fields(typing.cast(Any, cls))]
    unknown = sorted(str(key) for key in mapping if key not in names)
    if unknown:
        raise ValueError(f"{where}: unknown option {', '.join(unknown)}; allowed are {', '.join(names)}")
    values = {key: _typed(hints[key], value, f"{where}: {key}") for key, value in mapping.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def save_config(path: Path, config: TrainConfig) -> None:
    """Writes ``config.yaml``."""
    text = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)
    atomic_write(path, text, fsync=True)


def load_config(path: Path) -> TrainConfig:
    """Reads what :func:`save_config` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not YAML, or not a configuration.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; is this a run folder?")
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path}: not a configuration (it is nested too deeply)") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a number or date that cannot be
        raise ValueError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from None
    try:
        return from_dict(TrainConfig, mapping, str(path))
    except OverflowError as error:
        raise ValueError(f"{path}: a number is too large ({error})") from None


def differences(one: TrainConfig, other: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """Options whose values differ, by dotted name, with both values."""
    left, right = _flat(to_dict(one)), _flat(to_dict(other))
    missing = "(not set)"
    return {
        key: (left.get(key, missing), right.get(key, missing))
        for key in [*left, *(key for key in right if key not in left)]
        if left.get(key, missing) != right.get(key, missing)
    }


def check_resumable(saved: TrainConfig, wanted: TrainConfig, folder: Path) -> None:
    """Refuses to go on with a run under other options than it was started with.

    Raises:
        ValueError: an option outside :data:`MAY_DIFFER_ON_RESUME` differs; the message names each with both values.
    """
    different = {
        key: pair for key, pair in differences(saved, wanted).items() if key not in MAY_DIFFER_ON_RESUME
    }
    if different:
        listed = "; ".join(f"{key} was {was!r}, now {now!r}" for key, (was, now) in different.items())
        raise ValueError(
            f"{folder}: cannot resume, this folder holds a run of another configuration: {listed}. "
            f"Leave these options out, or start a new run."
        )


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _typed(hint: Any, value: Any, where: str) -> Any:
    """Brings a plain value to the type that a field wants."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where} must be one of {', '.join(map(str, arguments))}; got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where} must be a list, got {value!r}")
        return tuple(_typed(arguments[0], item, where) for item in value)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (item for item in arguments if item is not type(None))
        return _typed(hint, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise ValueError(f"{where} must be of type {hint.__name__}, got {value!r}")
    return value


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
