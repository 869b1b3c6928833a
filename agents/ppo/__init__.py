"""Learning a policy with PPO."""
