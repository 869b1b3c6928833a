"""What the inner trainer is timed against: one file an opponent, and a line that registers it."""

from lambda_rl.agents.benchmark.opponents.base import OPPONENTS, Opponent, Setting
from lambda_rl.agents.benchmark.opponents.dacbench_opponent import DACBench
from lambda_rl.agents.benchmark.opponents.ensembling import Ensembling
from lambda_rl.agents.benchmark.opponents.plain import PlainLoop

OPPONENTS.register("subproc", PlainLoop())
OPPONENTS.register("vmap", Ensembling())
OPPONENTS.register("dacbench", DACBench())

__all__ = ["OPPONENTS", "Opponent", "Setting"]
