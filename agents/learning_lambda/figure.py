"""One figure: where λ and α go when they are learned, and what constants of them are worth."""

from __future__ import annotations

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lambda_rl.agents.presenting.style import INK, LEARNED_PALETTE, PALETTE, dress, new_figure

_LOOKS = {
    "penalised loss": (PALETTE[0], "the training loss it is in"),
    "training": (PALETTE[1], "training loss, a step on (T1–T2)"),
    "validation": (LEARNED_PALETTE[0], "validation loss, a step on (T1–T2)"),
    "policy": (LEARNED_PALETTE[1], "whole runs, by reinforcement"),
}


def draw(runs: pd.DataFrame, trajectories: pd.DataFrame) -> Figure:
    """Above what constants are worth and where learned values end, below how these got there."""
    figure = new_figure(7.6, 5.2)
    axes = figure.subplots(2, 2, sharex="col")
    for column, knob in enumerate(("λ", "α")):
        own, moves = runs[runs["knob"] == knob], trajectories[trajectories["knob"] == knob]
        _worth(axes[0, column], own, knob)
        _moves(axes[1, column], moves)
        axes[1, column].set_xlabel(knob, fontsize=9, color=INK)
        if knob == "λ":
            axes[1, column].set_xscale("log")
    axes[0, 0].set_title("λ: weight of the penalty", fontsize=9, color=INK)
    axes[0, 1].set_title("α: weight of clean against FGSM inputs", fontsize=9, color=INK)
    axes[0, 0].set_ylabel("test accuracy, %", fontsize=8, color=INK)
    axes[1, 0].set_ylabel("step", fontsize=8, color=INK)
    looks: dict[str, Artist] = {}
    for axis in axes[1]:
        handles, labels = axis.get_legend_handles_labels()
        looks |= dict(zip(labels, handles, strict=True))
    figure.legend(
        list(looks.values()), list(looks), title="learned on", title_fontsize=8, loc="outside lower center",
        ncols=3, fontsize=8, frameon=False,
    )  # fmt: skip
    return figure


def _worth(axis: Axes, runs: pd.DataFrame, knob: str) -> None:
    constants = runs[runs["learned_on"] == "constant"].groupby("start")
    scores = ("test_accuracy",) if knob == "λ" else ("test_accuracy", "fgsm_accuracy")
    for score, style, word in zip(scores, ("-", "--"), ("clean", "FGSM"), strict=False):
        mean = constants[score].mean()
        axis.plot(
            mean.index, mean, style, color=INK, lw=1.2, marker=".", ms=4, label=f"constants, {word} inputs"
        )
        for how, group in runs[runs["learned_on"] != "constant"].groupby("learned_on"):
            colour, _ = _LOOKS[str(how)]
            axis.scatter(group["last"], group[score], s=12, color=colour, alpha=0.7, zorder=3)
    dress(axis)
    axis.legend(fontsize=7, frameon=False)


def _moves(axis: Axes, moves: pd.DataFrame) -> None:
    for how, (colour, word) in _LOOKS.items():
        for number, (_, line) in enumerate(moves[moves["learned_on"] == how].groupby(["start", "seed"])):
            axis.plot(
                line["value"], line["step"], color=colour, lw=0.7, alpha=0.7, label=None if number else word
            )
    axis.invert_yaxis()  # time runs downwards
    dress(axis)
