"""A crew: processes, of this machine or of a Ray cluster, that do a judge's inner runs."""

from lambda_rl.agents.baselines.crew.cluster import RayCrew
from lambda_rl.agents.baselines.crew.processes import ProcessCrew
from lambda_rl.agents.baselines.crew.units import Crew, Ground

__all__ = ["Crew", "Ground", "ProcessCrew", "RayCrew"]
