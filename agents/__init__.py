"""Who learns and who judges: PPO, export, tracking, evaluation, statistics and the report."""
