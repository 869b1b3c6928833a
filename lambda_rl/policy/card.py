"""The card of a policy: what it is, where it comes from, and whether this version of lambda_rl can use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lambda_rl.checks import bounded, bounded_int, listed, nested_beyond, shown
from lambda_rl.control import ControlLaw
from lambda_rl.knobs import KAPPA, LAM, LARGEST_LOG, UNITS, Knob, kind_of, knob_scale
from lambda_rl.observation.features import FEATURES, all_features
from lambda_rl.penalties import DECAYS, PENALTIES, Penalty
from lambda_rl.penalties import DEFAULT as DEFAULT_PENALTY

FORMAT_VERSION = 2
"""Raised whenever an older program could misread a newer file."""

FORMATS = (1, 2)
"""All that can be read; files are written in the last one."""

ANY = "any"
"""Meaning of λ, or penalty, of a policy that was trained with all of them."""

LAM_MEANINGS: tuple[str, ...] = (*DECAYS, ANY)
"""What λ may mean for a policy."""


def known_features(knobs: Sequence[Knob] = ()) -> dict[str, int]:
    """Features that this lambda_rl computes, and the version of each one's meaning.

    Args:
        knobs: of a policy; each one beyond the first adds features of its own.
    """
    return {name: feature.version for name, feature in all_features(knobs[1:]).items()}


MOST_KNOBS = 1000
MOST_DECISIONS = 10**9
LONGEST_TEXT = 10_000
"""Characters in a text of a card."""
DEEPEST_RESULTS = 20
"""Levels of lists and objects in the results of a card."""


@dataclass(frozen=True)
class PolicyCard:
    """What a policy is and where it comes from.

    Attributes:
        knobs: what the policy's actions move, in their order; most policies have one, λ, or κ, from which λ follows.
            A list is taken, too.
        lam_meaning: one of :data:`LAM_MEANINGS`, see docs/use-it-in-your-loop.md; "any" where the first knob is κ.
        penalty: the penalty that λ stands before, one of ``lambda_rl.PENALTIES``, or "any".
        decisions: decisions in a run as it was trained (the interval is a run's steps over it), 1 to 10⁹.
        suite: training suite; a text, as the next four, of 10,000 characters or less.
        data: training data.
        commit: of the code that trained it.
        command: that trained it.
        notes: what it is good for and when not to use it.
        results: measured results, any JSON of 20 levels or less.
        initial: the value that each knob starts from if the user names none, within the knob's range; None: the
            geometric middle of it. Empty, or nothing but None: None for all.
        features: names of the features that the policy reads, in its own order; some or all of
            :data:`lambda_rl.FEATURES` and those of further knobs.
        feature_versions: version of the meaning of each; empty: those of this lambda_rl.
        format_version: of the file that it was read from.
    """

    knobs: tuple[Knob, ...]
    lam_meaning: str = "coupled"
    penalty: str = DEFAULT_PENALTY
    decisions: int = 20
    suite: str = ""
    data: str = ""
    commit: str = ""
    command: str = ""
    notes: str = ""
    results: dict[str, Any] = field(default_factory=dict)
    initial: tuple[float | None, ...] = ()
    features: tuple[str, ...] = field(default_factory=FEATURES.names)
    feature_versions: tuple[int, ...] = ()
    format_version: int = field(default=FORMAT_VERSION, compare=False)

    def __post_init__(self) -> None:
        """Lists become tuples, and what is left empty gets its default; :meth:`check` checks."""
        stated = any(start is not None for start in self.initial)
        initial = self.initial if stated else (None,) * len(self.knobs)
        known = known_features(self.knobs)
        versions = self.feature_versions or [known.get(str(name), 0) for name in self.features]
        for name, value in (("initial", initial), ("feature_versions", versions)):
            object.__setattr__(self, name, tuple(value))
        for name in ("knobs", "features"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def controls(self) -> tuple[tuple[Knob, ControlLaw], ...]:
        """Each knob, and the law by which the policy's actions move it."""
        return tuple((knob, ControlLaw.from_knob(knob)) for knob in self.knobs)

    @property
    def unit(self) -> str:
        """Name of the first knob: one of :data:`lambda_rl.knobs.UNITS` in a policy that sets λ."""
        return self.knobs[0].name

    @property
    def control(self) -> ControlLaw:
        """The control law of the first knob."""
        return self.controls[0][1]

    @property
    def lam_control(self) -> ControlLaw:
        """The control law of λ, or κ, which must be the first knob, for those who move it and what stands beside it.

        Raises:
            ValueError: the first knob is another, or one beside it is of no registered kind.
        """
        if self.unit not in UNITS:
            raise ValueError(
                f"the first knob must be {' or '.join(UNITS)}, the policy moves {listed(k.name for k in self.knobs)}"
            )
        for knob in self.knobs[1:]:
            kind_of(knob.name)
        return self.control

    @property
    def rule(self) -> Penalty | None:
        """The penalty that λ stands before; None for any."""
        return None if self.penalty == ANY else PENALTIES[self.penalty]

    @property
    def log_lam_min(self) -> float:
        """log₁₀ of the smallest value of the first knob."""
        return self.knobs[0].log_low

    @property
    def log_lam_max(self) -> float:
        """log₁₀ of the largest value of the first knob."""
        return self.knobs[0].log_high

    @property
    def max_change(self) -> float:
        """What an action of 1 adds to log₁₀ of the first knob, decades."""
        return self.knobs[0].max_change

    @property
    def initial_lam(self) -> float | None:
        """The value that the first knob starts from if the user names none."""
        return self.initial[0]

    def check(self) -> None:
        """Raises a ``ValueError`` if anything is not as this version of lambda_rl needs it."""
        _check_format(self.format_version)
        self._check_features()
        self._check_knobs()
        if self.lam_meaning not in LAM_MEANINGS:
            raise ValueError(
                f"unknown lam_meaning {shown(self.lam_meaning)}; allowed: {', '.join(LAM_MEANINGS)}"
            )
        if self.unit == KAPPA and self.lam_meaning != ANY:
            raise ValueError(
                f"lam_meaning of a policy that moves {KAPPA} must be {ANY}, got {shown(self.lam_meaning)}"
            )
        if self.penalty not in (*PENALTIES, ANY):
            raise ValueError(f"unknown penalty {shown(self.penalty)}; allowed: {', '.join(PENALTIES)}, {ANY}")
        bounded_int("decisions", self.decisions, 1, MOST_DECISIONS)
        for name in _TEXTS:
            length = len(getattr(self, name))
            if length > LONGEST_TEXT:
                raise ValueError(f"{name} has {length} characters, the longest text is {LONGEST_TEXT}")
        if nested_beyond(self.results, DEEPEST_RESULTS):
            raise ValueError(f"results are nested more than {DEEPEST_RESULTS} deep")

    def _check_features(self) -> None:
        known = known_features(self.knobs)
        unknown = [name for name in self.features if name not in known]
        if unknown:
            raise ValueError(f"unknown features: {listed(unknown)}; this lambda_rl has {listed(known)}")
        if not self.features:
            raise ValueError("a policy must read at least one feature")
        if len(set(self.features)) < len(self.features):
            raise ValueError("a feature is there twice")
        if len(self.feature_versions) != len(self.features):
            raise ValueError(
                f"there are {len(self.feature_versions)} feature_versions for {len(self.features)} features"
            )
        for name, version in zip(self.features, self.feature_versions, strict=True):
            if version != known[name]:
                raise ValueError(
                    f"version {shown(version)} of the feature {name} is not known; "
                    f"this lambda_rl has {known[name]}"
                )

    def _check_knobs(self) -> None:
        names = [knob.name for knob in self.knobs]
        if not 1 <= len(names) <= MOST_KNOBS:
            raise ValueError(f"a policy must have 1 to {MOST_KNOBS} knobs, got {len(names)}")
        if len(set(names)) < len(names):
            raise ValueError(f"two knobs have the same name: {listed(names)}")
        if len(self.initial) != len(names):
            raise ValueError(f"there are {len(self.initial)} values of initial for {len(names)} knobs")
        for knob, start in zip(self.knobs, self.initial, strict=True):
            scale = knob_scale(knob.name)
            scale.check(knob)
            # a hair more than the range: a power of ten may have been rounded
            inside = start is None or (
                (start > 0 or scale.scale == "linear")
                and knob.log_low - 1e-9 <= scale.level(start) <= knob.log_high + 1e-9
            )
            if not inside:
                power = "" if scale.scale == "linear" else "10^"
                raise ValueError(
                    f"initial value {shown(start)} of the knob {knob.name} lies outside its range, "
                    f"{power}{knob.log_low:g} to {power}{knob.log_high:g}"
                )

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, in the newest format."""
        values = asdict(self)
        lists = {name: list(values[name]) for name in _LISTS}
        return {**values, **lists, "format_version": FORMAT_VERSION}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PolicyCard:
        """From plain values of any format in :data:`FORMATS`; checks names and types, then :meth:`check`.

        Raises:
            ValueError: a key is missing or unknown, a value is of the wrong type, or :meth:`check` fails.
        """
        # The version first: a newer file may well have other keys, and the version is what explains them.
        version = _check_format(values.get("format_version"))
        if version == 1:
            values = _newer_than_1(values)
        _check_keys(values, [item.name for item in fields(cls)])
        _check_types(values)
        card = cls(
            **{
                **values,
                "knobs": [_knob(item) for item in values["knobs"]],
                "initial": [None if start is None else _start(start) for start in values["initial"]],
            }
        )
        card.check()
        return card


_TEXTS = ("suite", "data", "commit", "command", "notes")
_LISTS = ("knobs", "initial", "features", "feature_versions")

FEATURES_1 = (
    "progress", "log_lam", "log_shrink", "train_loss", "val_loss", "loss_gap", "train_accuracy",
    "val_accuracy", "accuracy_gap", "delta_train_loss", "delta_val_loss", "delta_train_accuracy",
    "delta_val_accuracy", "delta_log_lam", "log_weight_norm", "delta_log_weight_norm", "log_penalty",
    "log_learning_rate", "log_num_train", "log_num_params", "log_epochs", "log_val_size",
)  # fmt: skip
"""What every policy of format 1 reads, each in version 1."""


def _newer_than_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """A card of format 1 in the words of format 2: it had one knob, λ, and one version for all of its features."""
    law = {"log_low": "log_lam_min", "log_high": "log_lam_max", "max_change": "max_change"}
    ours = {item.name for item in fields(PolicyCard)} - {"knobs", "initial", "feature_versions"}
    _check_keys(values, [*ours, *law.values(), "initial_lam", "features_version"])
    if values["features"] != list(FEATURES_1):
        raise ValueError("features are not those of format 1, in its order")
    return {
        **{name: values[name] for name in ours},
        "knobs": [{"name": LAM, **{new: values[old] for new, old in law.items()}}],
        "initial": [values["initial_lam"]],
        "feature_versions": [values["features_version"]] * len(FEATURES_1),
    }


def _check_format(version: Any) -> int:
    if type(version) is not int or version not in FORMATS:
        told = "is missing" if version is None else f"{shown(version)} is not known"
        raise ValueError(f"format version {told}; this lambda_rl reads {' and '.join(map(str, FORMATS))}")
    return version


def _check_keys(values: Mapping[str, Any], names: Sequence[str], what: str = "card") -> None:
    missing = sorted(set(names) - set(values))
    unknown = sorted(set(values) - set(names))
    if missing or unknown:
        raise ValueError(f"{what}: missing keys {listed(missing)}; unknown keys {listed(unknown)}")


def _check_types(values: Mapping[str, Any]) -> None:
    kinds: dict[str, type] = {
        **dict.fromkeys(_LISTS, list),
        "results": dict,
        "decisions": int,
        "format_version": int,
    }
    for name, value in values.items():
        if not isinstance(value, kinds.get(name, str)):
            raise ValueError(f"card: {name} has the wrong type: {shown(value)}")
    for name, kind in (("features", str), ("feature_versions", int)):
        if not all(type(item) is kind for item in values[name]):
            raise ValueError(f"card: {name} has the wrong type: {shown(values[name])}")


def _knob(values: Any) -> Knob:
    if not isinstance(values, dict):
        raise ValueError(f"card: a knob has the wrong type: {shown(values)}")
    _check_keys(values, [item.name for item in fields(Knob)], "knob")
    return Knob(**values)


def _start(value: Any) -> float:
    return bounded("initial value of a knob", value, 0.0, 10.0**LARGEST_LOG)
