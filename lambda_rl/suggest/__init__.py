"""A constant weight decay for those who want no controller: λ for a decay budget κ."""

from lambda_rl.suggest.suggestion import Suggestion, suggest_weight_decay

__all__ = ["Suggestion", "suggest_weight_decay"]
