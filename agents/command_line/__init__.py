"""The command ``lambda-rl``, whose parts are loaded when they are asked for."""
