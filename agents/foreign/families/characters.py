"""The next character of a generated text: words of an invented language, in the order of a Markov chain."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW

from lambda_rl.agents.foreign.task import Data, ForeignTask, Pair

CHARACTERS = 27
"""Letters and the space."""


def text(seed: int, length: int, *, words: int = 200) -> Tensor:
    """A text of an invented language: 200 words, each with five likely successors.

    Args:
        seed: the language and the text.
        length: characters.
        words: in its dictionary.
    """
    rng = np.random.default_rng(seed)
    letters = rng.dirichlet(np.full(26, 0.3), size=26)
    dictionary = []
    for _ in range(words):
        word = [int(rng.integers(26))]
        while len(word) < 7 and rng.random() < 0.8:
            word.append(int(rng.choice(26, p=letters[word[-1]])))
        dictionary.append([*word, 26])
    successors = rng.integers(words, size=(words, 5))
    found: list[int] = []
    word_now = 0
    while len(found) < length:
        found += dictionary[word_now]
        word_now = int(rng.integers(words) if rng.random() < 0.1 else rng.choice(successors[word_now]))
    return torch.tensor(found[:length])


def characters(seed: int, *, train: int = 6000, window: int = 24) -> Data:
    """Windows of a text, each with the characters that follow; half as many to validate, 12,000 characters to test."""
    whole = text(seed, train + train // 2 + 12_000)
    parts = [whole[:train], whole[train : train + train // 2], whole[train + train // 2 :]]
    cut = [_windows(part, window) for part in parts]
    return Data(cut[0], cut[1], cut[2], CHARACTERS)


def _windows(part: Tensor, window: int) -> Pair:
    count = (len(part) - 1) // window
    return part[: count * window].reshape(count, window), part[1 : count * window + 1].reshape(count, window)


class Recurrent(nn.Module):
    """A GRU on embedded characters."""

    def __init__(self, data: Data, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(data.num_classes, 24)
        self.gru = nn.GRU(24, width, batch_first=True)
        self.head = nn.Linear(width, data.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, window]`` to logits of the next character at each place."""
        logits: Tensor = self.head(self.gru(self.embed(x))[0])
        return logits


class Causal(nn.Module):
    """A transformer of two layers that looks backwards only."""

    def __init__(self, data: Data, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        window = data.train[0].shape[1]
        self.embed = nn.Embedding(data.num_classes, width)
        self.position = nn.Parameter(0.02 * torch.randn(window, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, data.num_classes)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(window))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, window]`` to logits of the next character at each place."""
        tokens = self.embed(x) + self.position
        for layer in self.layers:
            tokens = layer(tokens, src_mask=self.mask, is_causal=True)
        logits: Tensor = self.head(self.norm(tokens))
        return logits


task = partial(ForeignTask, family="characters", data=characters, batch_size=16, epochs=30, seconds=2.5)

TASKS = (
    task(name="characters-gru", network=Recurrent, optimizer=Adam, lr=5e-3, epochs=20),
    task(name="characters-gru-few", data=partial(characters, train=2000), network=Recurrent, optimizer=AdamW, lr=5e-3,
         epochs=60),
    task(name="characters-transformer", network=Causal, optimizer=AdamW, lr=3e-3, warmup=0.1, epochs=20, seconds=3.5),
)  # fmt: skip
