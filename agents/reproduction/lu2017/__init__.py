"""The experiments of Lu (2017), "Adaptive Hyperparameter Search for Regularization in Neural Networks", once more.

Settings, experiments and resumable results here; one command, ``scripts/reproduce_lu2017.py``; one page,
``docs/lu2017.md``. All training is done by :func:`lambda_rl.envs.judging.run_schedules`, as everywhere.
"""
