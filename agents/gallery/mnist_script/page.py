"""The page of the script: what it changes, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence

from lambda_rl.agents.gallery.mnist_script.judged import TRUSTING, Paired
from lambda_rl.agents.gallery.mnist_script.script import TRAIN, VAL
from lambda_rl.agents.presenting.markdown import NOT_MEASURED, markdown_table

MEAN, WORST = -0.3, -2.0
"""Points that the policy may cost at most: on average in each setting, and in any run."""

DIFF = """\
+import lambda_rl
 model = Net().to(device)
-optimizer = optim.AdamW(model.parameters(), lr=args.lr)
+optimizer = optim.AdamW(lambda_rl.split_parameters(model, weight_decay=0.01), lr=args.lr)
 scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
+schedule = lambda_rl.LearnedSchedule(optimizer, total_steps=args.epochs * len(train_loader), batch_size=64,
+                                     num_train=1007, val_size=250, num_classes=10, model=model)
 for epoch in range(1, args.epochs + 1):
-    train(args, model, device, train_loader, optimizer, epoch)
+    train_loss, train_accuracy = train(args, model, device, train_loader, optimizer, epoch)
-    test(model, device, test_loader)
+    val_loss, val_accuracy = test(model, device, val_loader)
     scheduler.step()
+    schedule.step(train_loss=train_loss, train_accuracy=train_accuracy, val_loss=val_loss, val_accuracy=val_accuracy)
"""
"""The lines of the script's ``main`` that change; its ``train`` and ``test`` return what they print."""

TEXT = f"""\
# PyTorch's MNIST script

The example that many start from ([basic/mnist](https://github.com/pytorch/examples/tree/main/mnist)): two convolutions,
dropout, batches of 64, the learning rate times 0.7 after each epoch. Here it is written anew on scikit-learn's digits
([script.py](../../agents/gallery/mnist_script/script.py)): 8×8 pixels, {TRAIN} images to train, {VAL} to watch, 540 for
results only. AdamW has a learning rate of 0.001, SGD of 0.05 and momentum 0.9; the settings with "cosine" have their
learning rate go to 0 by half a cosine, not by steps.

It is an easy task in a short run, where decay can gain little and cost much: what a first user of a schedule has. The
schedule should not cost anything there.

## The diff

```diff
{DIFF}```

## What came of it
"""


def verdict(found: Sequence[Paired]) -> str:
    """Whether each contestant keeps within what it may cost, in words: in the script as it is, and with a cosine."""
    lines = []
    for name, cosine in dict.fromkeys((one.contestant, _with_cosine(one)) for one in found):
        mine = [one for one in found if (one.contestant, _with_cosine(one)) == (name, cosine)]
        mean, worst = min(one.difference for one in mine), min(one.worst for one in mine)
        kept = mean >= MEAN and worst >= WORST
        who = shown(name) + (" with a cosine" if cosine else "")
        lines.append(
            f"- {who}: {'within' if kept else '**not within**'} what it may cost ({MEAN:g} points on average "
            f"in each setting, {WORST:g} in any run): {mean:+.2f} in the setting where it is worst, {worst:+.2f} in "
            "the worst run."
        )
    return "\n".join(lines) + "\n"


def _with_cosine(one: Paired) -> bool:
    return one.setting.endswith("-cosine")


def page(found: Sequence[Paired], origin: str) -> str:
    """The whole page."""
    if not found:
        return f"{TEXT}\n{NOT_MEASURED}\n\n{origin}"
    columns = (
        "script", "", "as it stands, %", "with the policy, %", "difference, points [95 %]", "worst run", "κ",
        "runs with a warning",
    )  # fmt: skip
    rows = [
        (
            one.setting,
            shown(one.contestant),
            f"{one.own:.2f}",
            f"{one.accuracy:.2f}",
            f"{one.difference:+.2f} [{one.interval[0]:+.2f}, {one.interval[1]:+.2f}]",
            f"{one.worst:+.2f}",
            f"{one.kappa:.2g}",
            f"{100 * one.warned:.0f} %",
        )
        for one in found
    ]
    seeds = found[0].seeds
    head = (
        f"Test accuracy over {seeds} seeds, each a split, initial weights and minibatches that both have in common. "
        "As it stands means the optimizer's own decay: 0.01 for AdamW, on all parameters, none for SGD.\n"
    )
    return "\n".join([TEXT, head, markdown_table(columns, rows), verdict(found), origin])


def shown(name: str) -> str:
    """A contestant in a table."""
    return f'`{name.removesuffix(TRUSTING)}`, `trust="auto"`' if name.endswith(TRUSTING) else f"`{name}`"
