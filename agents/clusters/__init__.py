"""A Ray cluster: units of work that anybody in it does, and environments whose slots are spread over it."""

from lambda_rl.agents.clusters.alike import alike
from lambda_rl.agents.clusters.cluster import Cluster
from lambda_rl.agents.clusters.environment import ClusterVectorEnv
from lambda_rl.agents.clusters.pool import RayPool
from lambda_rl.agents.clusters.spread import HERE, Spread

__all__ = ["HERE", "Cluster", "ClusterVectorEnv", "RayPool", "Spread", "alike"]
