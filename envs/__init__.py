"""What is controlled: data, inner networks, their trainer, tasks and the Gymnasium environments.

Importing this package registers ``LambdaRL/CifarLambda-v0`` for ``gymnasium.make`` and ``gymnasium.make_vec``.
"""

from gymnasium.envs.registration import register, registry

ENV_ID = "LambdaRL/CifarLambda-v0"

if ENV_ID not in registry:
    register(
        id=ENV_ID,
        entry_point="lambda_rl.envs.env:CifarLambdaEnv",
        vector_entry_point="lambda_rl.envs.vector_env:CifarLambdaVectorEnv",
        # The end of the run is part of the task, so there is no time limit from outside; order enforcement and the
        # passive checker stay on.
    )
