"""The plain loop that anybody would write, made as fast as a plain loop gets, and SB3's processes around it.

One environment is one network in one process with one thread: ``torch.nn``, images normalised once and resident,
the fused ``torch.optim.SGD``, no ``.item()`` within an interval, convolutions channels last. In bf16 the products
take bf16 copies of fp32 master weights, which was faster than ``torch.autocast``.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3.common.vec_env import SubprocVecEnv
from torch import Tensor

from lambda_rl.agents.benchmark.machine.peaks import DTYPES
from lambda_rl.agents.benchmark.opponents.base import Opponent, Setting
from lambda_rl.agents.benchmark.opponents.torch_layers import plain_network
from lambda_rl.agents.benchmark.timing import Row
from lambda_rl.agents.options import DataOptions
from lambda_rl.control import ControlLaw
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.data.split import split_data
from lambda_rl.envs.optimizers import ADAM_BETA2, OPTIMIZERS, SGD
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.run import learning_rates, network_of


class PlainData:
    """All images, normalised once, and the parts that a run is cut from.

    Attributes:
        network: the task's.

    Args:
        data: the images as they are.
        task: resolution, sizes, label noise.
        dtype: of the images.
        device: where they live.
    """

    def __init__(self, data: ImageData, task: Task, dtype: torch.dtype, device: torch.device) -> None:
        self._num_classes = data.num_classes
        self.network = network_of(task, data.num_classes, data.images.shape[1])
        images = data.images.float()
        if task.resolution != images.shape[-1]:
            images = F.avg_pool2d(images, images.shape[-1] // task.resolution)
        images = (images - images.mean((0, 2, 3), keepdim=True)) / images.std((0, 2, 3), keepdim=True)
        self.layout = torch.channels_last if self.network.convolutional else torch.contiguous_format
        self.inputs = images.to(device, dtype).contiguous(memory_format=self.layout)
        self.labels = data.labels.to(device)
        self.split = split_data(len(data.labels), "agent")

    def of(self, task: Task) -> PlainData:
        """The same images for another task of their resolution; of convolutions they are laid out anew."""
        other = copy.copy(self)
        other.network = network_of(task, self._num_classes, self.inputs.shape[1])
        other.layout = torch.channels_last if other.network.convolutional else torch.contiguous_format
        other.inputs = self.inputs.contiguous(memory_format=other.layout)
        return other

    def draw(self, part: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """``count`` images of a part, as indices int64."""
        return part[torch.randperm(len(part), generator=generator)[:count]].to(self.labels.device)

    def noisy_labels(self, index: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """Labels of some images, a share of them replaced by another class."""
        labels, classes = self.labels[index], self.network.num_classes
        wrong = (torch.rand(len(index), generator=generator) < share).to(labels.device)
        shift = torch.randint(1, classes, (len(index),), generator=generator).to(labels.device)
        return torch.where(wrong, (labels + shift) % classes, labels)


class PlainEnv(gym.Env[npt.NDArray[np.float32], npt.NDArray[np.float32]]):
    """One inner run as a plain loop: the same task, decisions, evaluations and reward as our environment's.

    Scales of inputs and of initial weights stay at 1: they change no step's cost.

    Args:
        data: the images, in the format of the precision and on the device.
        task: what is trained; each episode has other random numbers.
        outer_size: images that the reward is taken on at each decision but the last, which takes the whole part.
    """

    def __init__(self, data: PlainData, task: Task, outer_size: int) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (8,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self._task, self._outer_size, self._data = task, outer_size, data
        self._dtype, self._device = data.inputs.dtype, data.inputs.device
        self._rates = learning_rates(task).tolist()
        self._control, self._reward = ControlLaw(), RewardConfig(outer_size=outer_size)
        self._generator = torch.Generator().manual_seed(task.seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """A new network on a new draw of images."""
        super().reset(seed=seed)
        if seed is not None:
            self._generator.manual_seed(seed)
        task, data, generator = self._task, self._data, self._generator
        self._master = plain_network(data.network).to(self._device).to(memory_format=data.layout)
        low = self._dtype != torch.float32
        self._network = copy.deepcopy(self._master).to(self._dtype) if low else self._master
        weights = [p for p in self._master.parameters() if p.dim() >= 2]
        others = [p for p in self._master.parameters() if p.dim() < 2]
        groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
        self._optimizer = _optimizer(task, groups)
        train = data.draw(data.split.inner_train, task.train_size, generator)
        labels = data.noisy_labels(train, task.label_noise, generator)
        order = torch.randint(len(train), (task.steps, task.batch_size), generator=generator).to(self._device)
        self._order, self._labels = train[order], labels[order]
        self._val = data.draw(data.split.inner_val, task.val_size, generator)
        self._outer = data.draw(data.split.outer_val, self._outer_size, generator)
        self._held = [(data.inputs[part], data.labels[part]) for part in (self._val, self._outer)]
        self._log_lam = np.array([np.log10(task.initial_lam)])
        self._done_steps = self._decision = 0
        self._score = float(self._reward.chance(data.network.num_classes))
        return np.zeros(8, np.float32), {}

    def step(
        self, action: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Moves λ, trains one interval, evaluates."""
        self._log_lam = self._control.apply(self._log_lam, np.asarray(action, np.float64).reshape(1))
        self._optimizer.param_groups[0]["weight_decay"] = float(10.0 ** self._log_lam[0])
        self._decision += 1
        train_loss, train_accuracy = self._train(self._task.boundary(self._decision))
        last = self._decision == self._task.decisions
        held = list(self._held)
        if last:
            part = self._data.split.outer_val.to(self._device)
            held[1] = self._data.inputs[part], self._data.labels[part]
        with torch.no_grad():
            measured = [train_loss, train_accuracy]
            for inputs, labels in held:
                logits = self._network(inputs).float()
                measured += [
                    F.cross_entropy(logits, labels),
                    (logits.argmax(1) == labels).float().mean(),
                ]
            norm = torch.stack([p.square().sum() for p in self._optimizer.param_groups[0]["params"]]).sum()
            numbers = torch.stack([*measured, norm]).cpu().numpy()
        score = float(self._reward.score(numbers[5], numbers[4], self._data.network.num_classes))
        reward, self._score = self._reward.scale * (score - self._score), score
        observation = np.array([self._decision / self._task.decisions, *numbers], np.float32)
        return observation, reward, last, False, {}

    def _train(self, until: int) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy over the minibatches of an interval."""
        loss_sum = torch.zeros((), device=self._device)
        correct = torch.zeros((), device=self._device)
        steps = until - self._done_steps
        masters: list[Tensor] = list(self._master.parameters())
        copies: list[Tensor] = list(self._network.parameters())
        for t in range(self._done_steps, until):
            labels = self._labels[t]
            logits = self._network(self._data.inputs[self._order[t]]).float()
            loss = F.cross_entropy(logits, labels)
            for group in self._optimizer.param_groups:
                group["lr"] = self._rates[t]
            if self._network is self._master:
                self._optimizer.zero_grad()
                loss.backward()
                self._optimizer.step()
            else:
                for weight, grad in zip(masters, torch.autograd.grad(loss, copies), strict=True):
                    weight.grad = grad.float()
                self._optimizer.step()
                with torch.no_grad():
                    torch._foreach_copy_(copies, masters)
            with torch.no_grad():
                loss_sum += loss
                correct += (logits.argmax(1) == labels).float().mean()
        self._done_steps = until
        return loss_sum / steps, correct / steps


def _optimizer(task: Task, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Torch's own, fused."""
    usual: dict[str, Any] = {"lr": task.learning_rate, "weight_decay": task.initial_lam, "fused": True}
    if isinstance(OPTIMIZERS[task.optimizer], SGD):
        return torch.optim.SGD(groups, momentum=task.momentum, **usual)
    kind = torch.optim.AdamW if task.decay == "decoupled" else torch.optim.Adam
    return kind(groups, betas=(task.momentum, ADAM_BETA2), **usual)


def _make(source: DataOptions, task: Task, precision: str, outer_size: int, device: str) -> PlainEnv:
    """The environment of a process, which has one thread."""
    torch.set_num_threads(1)
    return PlainEnv(
        PlainData(source.load_train(), task, DTYPES[precision], torch.device(device)), task, outer_size
    )


class PlainLoop(Opponent):
    """SB3's ``SubprocVecEnv`` with one :class:`PlainEnv` a process; a run of a row is one episode of each."""

    label = "SB3 SubprocVecEnv, plain loop"

    def rows(self, task: Task, setting: Setting) -> Iterator[tuple[str, Row]]:
        """See :meth:`Opponent.rows`."""
        for precision in setting.precisions:
            yield f"{self.label}, {precision}", _processes(task, precision, setting)


def _processes(task: Task, precision: str, setting: Setting) -> Row:
    count = setting.processes
    make = functools.partial(_make, setting.source, task, precision, setting.outer_size, str(setting.device))
    vec_env = SubprocVecEnv([make] * count)
    vec_env.seed(0)
    vec_env.reset()
    action = np.zeros((count, 1), np.float32)

    def episode() -> int:
        for _ in range(task.decisions):
            vec_env.step(action)
        return count * task.steps

    return Row(episode, close=vec_env.close, precision=precision)
