"""Steps DACBench's SGD environment on request. Runs by its path in a Python that has ``dacbench``, without lambda-rl.

Reads lines of JSON from standard input, the first with what to build (see ``dacbench_opponent.py``), each of the others
with a number of ``env.step``; answers each with one line of JSON. DACBench (Eimer et al. 2021, arXiv:2105.08541) is
left as it is in all that it does in a step: an epoch through its data loaders, with the image decoded by PIL and
normalised by torchvision as it does for CIFAR-10, then its validation.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

NAME = "LambdaRLImages"


def model(spec: dict[str, Any]) -> nn.Sequential:
    """The network, with the log-softmax that DACBench's loss wants."""
    layers = [getattr(nn, name)(*numbers) for name, numbers in spec["layers"]]
    return nn.Sequential(*layers, nn.LogSoftmax(1))


def make_env(spec: dict[str, Any]) -> Any:
    """DACBench's environment, with our images, network, batch size and optimizer."""
    datasets: Any = importlib.import_module("torchvision.datasets")
    transforms: Any = importlib.import_module("torchvision.transforms")
    benchmarks: Any = importlib.import_module("dacbench.benchmarks")
    envs: Any = importlib.import_module("dacbench.envs")
    arrays = np.load(spec["images"])

    class Images(datasets.CIFAR10):  # its __getitem__ as it is: a PIL image, then the transforms
        def __init__(
            self, root: str, train: bool = True, transform: Any = None, download: bool = False
        ) -> None:
            self.root, self.transform, self.target_transform, self.train = root, transform, None, train
            self.data, self.targets = arrays["images"], arrays["labels"].tolist()
            self.classes = [str(label) for label in range(spec["num_classes"])]

    setattr(datasets, NAME, Images)  # DACBench looks its data sets up there by name
    half = (0.5, 0.5, 0.5)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(half, half)])
    count = len(arrays["labels"])
    instance = envs.SGDInstance(
        model=lambda: model(spec),
        optimizer_type="SGD",
        optimizer_params={},
        dataset_path=".",
        dataset_name=NAME,
        batch_size=spec["batch_size"],
        fraction_of_dataset=1.0,
        train_validation_ratio=(spec["train"] + 0.5) / count,  # rounded down to whole batches of it
        seed=0,
    )
    benchmark = benchmarks.SGDBenchmark()
    benchmark.config.instance_set = {0: instance}
    benchmark.config.dataset_config = {NAME: {"train_transform": transform, "test_transform": transform}}
    # Validation takes all of its images only where the cutoff is a multiple of the batches in an epoch.
    benchmark.config.cutoff = 10**6 * (spec["train"] // spec["batch_size"])
    env = benchmark.get_environment()
    env.reset()
    # It always makes an AdamW, whatever the instance says.
    env.optimizer = torch.optim.SGD(
        env.model.parameters(), lr=spec["learning_rate"], momentum=spec["momentum"], weight_decay=1e-3
    )
    assert len(env.train_loader) * spec["batch_size"] == spec["train"]
    assert len(env.validation_loader.dataset) == count - spec["train"]
    return env


def main() -> None:
    """Builds the environment, then steps it as often as it is told."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not get between the answers
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    spec = json.loads(sys.stdin.readline())
    env = make_env(spec)
    version = importlib.import_module("importlib.metadata").version("dacbench")
    answers.write(json.dumps({"dacbench": version, "torch": torch.__version__}) + "\n")
    for line in sys.stdin:
        for _ in range(int(line)):
            _, _, terminated, truncated, _ = env.step([spec["learning_rate"]])
            if terminated or truncated:
                raise RuntimeError("DACBench's episode ended: its network diverged")
        answers.write(json.dumps({"steps": int(line) * len(env.train_loader)}) + "\n")


if __name__ == "__main__":
    main()
