"""Other people's loops with a policy in them: what had to be changed, what came of it, a page each."""
