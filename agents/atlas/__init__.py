"""The λ atlas: the best constant λ and κ over networks, data, optimizers and budgets, and laws fitted to it."""
