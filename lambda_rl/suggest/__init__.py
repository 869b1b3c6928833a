"""A constant weight decay for those who want no controller: λ for a decay budget κ, and what λ means."""

from lambda_rl.suggest.conventions import convert_lam
from lambda_rl.suggest.suggestion import Suggestion, suggest_weight_decay

__all__ = ["Suggestion", "convert_lam", "suggest_weight_decay"]
