"""Schedules inside training frameworks, one module a framework.

Nothing is imported here: :mod:`lambda_rl.integrations.lightning` and :mod:`lambda_rl.integrations.huggingface` import
their framework when they are imported themselves, and say what to install if it is missing.
"""
