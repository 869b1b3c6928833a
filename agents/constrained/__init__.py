"""``lambda_rl.constraints`` beside the library Cooper, on problems whose answers are known and on small networks."""
