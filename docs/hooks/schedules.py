"""A page for each schedule, out of ``docs/schedules/schedules.yaml`` and a small run under it.

``python docs/hooks/schedules.py FOLDER`` draws the figures alone.
"""

from __future__ import annotations

import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from torch import nn
from torch.nn.functional import cross_entropy

import lambda_rl
from lambda_rl.schedules.rules.measured import pull

FOLDER = Path(__file__).resolve().parents[1] / "schedules"
INDEX = "schedules/README.md"
STEPS, DECISIONS, CLASSES = 240, 24, 4
NUM_TRAIN, VAL_SIZE, BATCH = 240, 400, 32


def entries() -> dict[str, dict[str, str]]:
    """The table, by the name that a schedule's text begins with."""
    found: dict[str, dict[str, str]] = yaml.safe_load((FOLDER / "schedules.yaml").read_text(encoding="utf-8"))
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page and a figure for each schedule."""
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder))
        for name, entry in entries().items():
            drawn = (Path(folder) / f"{name}.svg").read_bytes()
            files.append(File.generated(config, f"schedules/{name}.svg", content=drawn))
            files.append(File.generated(config, f"schedules/{name}.md", content=page(name, entry)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs's
    """Links the first cell of each row of the index to the schedule's page."""
    if page.file.src_uri != INDEX:
        return markdown
    return re.sub(r"^\| `([a-z-]+)([:`])", r"| [`\1`](\1.md) `\1\2", markdown, flags=re.MULTILINE)


def page(name: str, entry: dict[str, str]) -> str:
    """The page of a schedule."""
    return f"""# {name}

{entry["what"]}

```text
{entry["formula"]}
```

| | |
| --- | --- |
| as text | `{lambda_rl.SCHEDULE_FORMS[name]}` |
| as a class | `{entry["class"]}` ([reference](../api/schedules.md)) |
| source | {entry["source"]} |
| it has to be told | {entry["tells"]} |

p is the share of the run that is done, η the learning rate.

**When.** {entry["when"]}

**When not.** {entry["not"]}

![What {name} did in a small run]({name}.svg)

`{entry["text"]}` in a run of {STEPS} steps, with {DECISIONS} decisions: {NUM_TRAIN} examples of {CLASSES} classes, of
whose labels a quarter are wrong, 48 hidden units, {"AdamW" if entry.get("optimizer") else "SGD"}, cosine learning rate.
One run shows what a schedule does, not how good it is ([evidence](../evidence.md)). Made by `make docs`, or
`python docs/hooks/schedules.py FOLDER`.
"""


def draw(folder: Path) -> None:
    """Runs each schedule, and writes a figure of it as it draws itself."""
    for name, entry in entries().items():
        text = entry["text"].replace("trace.csv", str(folder / "trace.csv"))
        schedule = run(text, adam="optimizer" in entry)
        if name == "pull-down":
            schedule.to_csv(folder / "trace.csv")  # for replay, which comes later
        schedule.plot(folder / f"{name}.svg")


def run(text: str, *, adam: bool) -> lambda_rl.Schedule:
    """A small network under a schedule; the same data, start and minibatches for all."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    teacher, inputs = normal(16, CLASSES), normal(NUM_TRAIN + VAL_SIZE, 16)
    labels = (inputs @ teacher).argmax(1)
    x, y, val_x, val_y = (
        *(part[:NUM_TRAIN] for part in (inputs, labels)),
        inputs[NUM_TRAIN:],
        labels[NUM_TRAIN:],
    )
    y = torch.where(torch.rand(NUM_TRAIN, generator=generator) < 0.25, (y + 1) % CLASSES, y)
    model = nn.Sequential(nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, CLASSES))
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(normal(*weight.shape) * 0.2)
    groups = lambda_rl.split_parameters(model, 1e-4)
    optimizer: torch.optim.Optimizer = (
        torch.optim.AdamW(groups, lr=0.01) if adam else torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    )
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    facts: dict[str, Any] = {
        "num_train": NUM_TRAIN, "val_size": VAL_SIZE, "num_classes": CLASSES, "batch_size": BATCH, "model": model,
    }  # fmt: skip
    schedule = lambda_rl.parse_schedule(text)(optimizer, total_steps=STEPS, **facts)
    for step in range(1, STEPS + 1):
        batch = torch.randint(NUM_TRAIN, (BATCH,), generator=generator)
        optimizer.zero_grad()
        cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        rate.step()
        if step % (STEPS // DECISIONS) == 0:
            schedule.step(**measured(model, (x, y), (val_x, val_y), schedule))
    return schedule


def measured(model: nn.Module, train: Any, val: Any, schedule: lambda_rl.Schedule) -> dict[str, Any]:
    """The signals of an interval, and the pull of the validation loss where the schedule asks for it."""
    found: dict[str, Any] = {}
    for name, (inputs, labels) in (("train", train), ("val", val)):
        with torch.no_grad():
            logits = model(inputs)
        found[f"{name}_loss"] = cross_entropy(logits, labels)
        found[f"{name}_accuracy"] = (logits.argmax(1) == labels).float().mean()
    if "val_pull" in getattr(schedule, "asked", ()):
        assert schedule.groups is not None
        model.zero_grad()
        cross_entropy(model(val[0]), val[1]).backward()
        found["val_pull"] = pull(schedule.groups.weights())
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    draw(Path(sys.argv[1]))
