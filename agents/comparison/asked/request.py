"""What the options of a comparison name: read, and checked before any inner run."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lambda_rl.agents.ablation.contestants import OF_TRACES, chosen
from lambda_rl.agents.ablation.traces import Traces
from lambda_rl.agents.baselines import Cell, Tuned, check_tuning_suite, tuning_settings
from lambda_rl.agents.baselines.fingerprints import file_fingerprint
from lambda_rl.agents.comparison.asked.options import CompareConfig
from lambda_rl.agents.comparison.contestants import Learned, LineUp, check_meanings, line_up, read_policies
from lambda_rl.agents.comparison.protocol import cells_of
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.hardware.device import resolve_device
from lambda_rl.envs.tasks.suites import Suite, load_suite, suite_names


def default_tuning_suite(suite: Suite, data: str = "") -> str:
    """The validation suite that hand-designed schedules are tuned on if the user names none.

    The one that belongs to a built-in suite; for a suite of the user's own, that of the same kinds of network, and if
    there is none, the one of the most kinds.
    """
    lists = [name for name in suite_names() if name.endswith("-validation")]
    match = re.fullmatch(r"(.+?)-(held-out.*|validation)", suite.name)
    if match and f"{match[1]}-validation" in lists:
        return f"{match[1]}-validation"

    def networks(of: Suite) -> set[str]:
        return {task.network for task in of.tasks}

    # The quick suites are made for generated images, and for nothing else.
    lists.sort(key=lambda name: name.startswith("quick") != data.startswith("synthetic"))
    alike = [name for name in lists if networks(load_suite(name)) == networks(suite)]
    return alike[0] if alike else max(lists, key=lambda name: len(networks(load_suite(name))))


@dataclass(frozen=True)
class Request:
    """What a configuration names, read and checked; the policies are in the line-up, each read once.

    Attributes:
        config: all options.
        suite: the tasks.
        learned: the policies.
        tuning: suite to tune on; None: nothing is tuned now.
        earlier: what was tuned before.
        looks: suite on which policies are looked at for their ablations; None: none of these needs it.
    """

    config: CompareConfig
    suite: Suite
    learned: list[Learned]
    tuning: Suite | None
    earlier: Tuned | None
    looks: Suite | None = None

    @classmethod
    def read(cls, config: CompareConfig) -> Request:
        """Reads suites, policies and tuned settings, and checks all that needs no images."""
        suite = load_suite(config.suite)
        suite.listed("a comparison")
        earlier = Tuned.load(config.tuned) if config.tuned else None
        ablations = chosen(config.ablations)
        if ablations and not config.policy:
            raise ValueError("--ablations: there is no policy to ablate; name one with --policy")
        side = None
        if config.tune != "none":
            auto = config.tune == "auto"
            side = load_suite(default_tuning_suite(suite, config.data) if auto else config.tune)
            check_tuning_suite(side)
        elif set(ablations) & set(OF_TRACES):
            raise ValueError(
                f"the ablations {' and '.join(OF_TRACES)} need a tuning suite; --tune says which"
            )
        learned = read_policies(config.policy, config.lam_meaning, config.training_runs)
        check_meanings(learned, suite)
        tuning = side if earlier is None else None
        request = cls(
            config, suite, learned, tuning, earlier, side if set(ablations) & set(OF_TRACES) else None
        )
        request.line_up(earlier)
        return request

    def line_up(self, tuned: Tuned | None, traces: Mapping[str, Traces] | None = None) -> LineUp:
        """Everybody who takes part.

        Args:
            tuned: what baselines were tuned to.
            traces: what each policy did on the suite :attr:`looks`, by its name.
        """
        config = self.config
        return line_up(
            self.learned,
            constants=config.constants,
            tuned=tuned,
            families=config.families,
            extra=config.schedule,
            ablations=chosen(config.ablations),
            traces=traces,
        )

    @property
    def cells(self) -> list[Cell]:
        """Tasks and seeds."""
        return cells_of(self.suite, self.config.seeds, self.config.first_seed)

    @property
    def datasets(self) -> list[str]:
        """Data sets that tasks name, of the comparison and of the tuning."""
        suites = [suite for suite in (self.suite, self.tuning, self.looks) if suite is not None]
        return sorted({name for suite in suites for name in suite.datasets})

    @property
    def settings(self) -> dict[str, list[str]]:
        """What is tuned over."""
        return tuning_settings(self.config.constants, self.config.tune_settings, self.config.families)

    def question(self, train: Mapping[str, ImageData]) -> dict[str, object]:
        """All that tells this comparison from others."""
        config, suite, tuning = self.config, self.suite, self.tuning
        tasks = [dataclasses.asdict(cell.task) for cell in self.cells]
        asked: dict[str, object] = {
            "suite": [suite.name, suite.fold, tasks],
            "policies": [(item.name, item.contestant.spec, item.policy.fingerprint) for item in self.learned],
            "families": config.families,
            "constants": config.constants,
            "schedules": [(spec, file_fingerprint(spec)) for spec in config.schedule],
            "tuned": None if self.earlier is None else dataclasses.asdict(self.earlier),
            "data": {name: part.fingerprint for name, part in train.items()},
            "trainer": [resolve_device(config.device).type, config.precision, config.compile],
        }
        if config.training_runs:
            asked["training_runs"] = config.training_runs
        if config.ablations:
            asked["ablations"] = config.ablations
        if self.looks is not None:
            asked["looks"] = [
                self.looks.name,
                [dataclasses.asdict(task) for task in self.looks.tasks],
                config.tune_seeds,
            ]
        if tuning is not None:
            tasks = [dataclasses.asdict(task) for task in tuning.tasks]
            asked["tuning"] = [tuning.name, tasks, config.tune_seeds, self.settings]
        return asked
