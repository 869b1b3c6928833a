"""Schedules of λ: hand-designed, replayed and learned."""
