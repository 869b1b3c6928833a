"""To see what a schedule does: as text, as numbers for a tracker, as a file, as a figure."""

from lambda_rl.seeing.loggers import to_csv, to_tensorboard, to_wandb

__all__ = ["to_csv", "to_tensorboard", "to_wandb"]
