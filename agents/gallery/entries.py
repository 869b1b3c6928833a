"""Which loops have a page, and what is said of each."""

from __future__ import annotations

from dataclasses import dataclass

from lambda_rl.agents.foreign.suite import selected
from lambda_rl.agents.foreign.task import ForeignTask


@dataclass(frozen=True)
class Entry:
    """A page of the gallery.

    Attributes:
        name: of the page.
        title: its heading.
        text: what the loop is, and why decay matters in it; Markdown.
        tasks: foreign tasks that it shows, the first of which gives the diff.
        network: how the diff's first lines make the network, for the reader.
    """

    name: str
    title: str
    text: str
    tasks: tuple[str, ...]
    network: str

    @property
    def loops(self) -> tuple[ForeignTask, ...]:
        """The tasks, in the order named."""
        return tuple(selected([name])[0] for name in self.tasks)


ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="grokking",
        title="Grokking: modular addition",
        text=(
            "Networks that are to add modulo a prime learn the training pairs by heart first, and understand late, "
            "if weight decay makes them ([Power et al. 2022](https://arxiv.org/abs/2201.02177)). Full batches, AdamW "
            "with a constant learning rate. Nothing but decay decides whether the validation pairs are ever solved, "
            "and much of it is needed: the best constant is κ = 10 to 40."
        ),
        tasks=("grokking-mlp", "grokking-mlp-few", "grokking-transformer"),
        network="two embeddings and a perceptron",
    ),
    Entry(
        name="mnist1d",
        title="MNIST-1D: four networks",
        text=(
            "Signals of 40 points in ten classes ([Greydanus and Kobak 2020](https://arxiv.org/abs/2011.14439)), made "
            "by the package `mnist1d`: a perceptron, a convolutional network and a GRU with Adam as in its notebook, "
            "where decay is coupled and hardly any is right; the first two also with 15 % wrong labels, the perceptron "
            "with SGD."
        ),
        tasks=("mnist1d-mlp", "mnist1d-mlp-noisy", "mnist1d-cnn", "mnist1d-cnn-noisy", "mnist1d-gru"),
        network="a perceptron of two layers of 100",
    ),
    Entry(
        name="noisy-digits",
        title="Noisy digits",
        text=(
            "scikit-learn's digits, 600 training images, many of them with a wrong label. Without decay the network "
            "learns the wrong labels by heart; how much decay keeps it from that depends on how many there are, which "
            "nobody tells the policy."
        ),
        tasks=(
            "digits-noisy",
            "digits-clean",
            "digits-noisy-45",
            "digits-noisy-adamw",
            "digits-noisy-dropout",
        ),
        network="a perceptron of two layers of 64",
    ),
    Entry(
        name="resnet-cifar",
        title="A small ResNet on CIFAR",
        text=(
            "A residual network with batch normalisation on five classes of CIFAR-10 at 8×8 pixels, a few thousand "
            "images, and the same network on noisy digits. Behind a norm layer the size of a weight does not matter to "
            "the output, and decay acts through the learning rate alone."
        ),
        tasks=("resnet-classes", "resnet-digits"),
        network="a stem, two residual blocks, a linear layer",
    ),
)


def by_name(name: str) -> Entry:
    """A page of the gallery.

    Raises:
        ValueError: there is none of that name.
    """
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    raise ValueError(
        f"unknown page {name!r} of the gallery; allowed: {', '.join(one.name for one in ENTRIES)}"
    )
