"""Everything that ``lambda_rl`` offers by name; ``lambda_rl.X`` is ``lambda_rl.public.X``."""

from lambda_rl.attach.layers import split_parameters
from lambda_rl.control import ControlLaw
from lambda_rl.knobs import Knob
from lambda_rl.observation import FEATURES, FEATURES_VERSION, Observer, RunFacts, Signals
from lambda_rl.penalties import (
    PENALTIES,
    lam_per_example,
    lam_per_parameter,
    penalised_weights,
    penalty,
    penalty_gradient,
    penalty_terms,
)
from lambda_rl.policy.actor import Policy, policy_from_arrays
from lambda_rl.policy.card import PolicyCard
from lambda_rl.policy.file import PolicyFileError, load_policy, save_policy, shipped_policies
from lambda_rl.policy.text import describe
from lambda_rl.schedules.base import Schedule
from lambda_rl.schedules.gap_rule import GapRule
from lambda_rl.schedules.learned import LearnedSchedule
from lambda_rl.schedules.open_loop import Constant, Cosine, OpenLoop, PullDown, PullUp, Steps
from lambda_rl.schedules.replay import ReplaySchedule
from lambda_rl.schedules.text_form import SCHEDULE_FORMS, ScheduleFactory, parse_schedule
from lambda_rl.suggest import Suggestion, convert_lam, suggest_weight_decay

__all__ = [
    "Schedule",
    "OpenLoop",
    "Constant",
    "Steps",
    "PullDown",
    "PullUp",
    "Cosine",
    "GapRule",
    "LearnedSchedule",
    "ReplaySchedule",
    "parse_schedule",
    "ScheduleFactory",
    "SCHEDULE_FORMS",
    "suggest_weight_decay",
    "Suggestion",
    "convert_lam",
    "Policy",
    "PolicyCard",
    "PolicyFileError",
    "load_policy",
    "shipped_policies",
    "save_policy",
    "policy_from_arrays",
    "describe",
    "PENALTIES",
    "penalty",
    "penalty_terms",
    "penalty_gradient",
    "penalised_weights",
    "split_parameters",
    "lam_per_example",
    "lam_per_parameter",
    "ControlLaw",
    "Knob",
    "FEATURES",
    "FEATURES_VERSION",
    "Observer",
    "RunFacts",
    "Signals",
]
