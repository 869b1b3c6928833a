"""The rooms of the house: who may import whom."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Set as AbstractSet
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from places import AGENTS, BASE, ENVS, FLOORS, INTEGRATIONS, ROOT, modules, name_of, sources

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Which rooms a room may import, without the "lambda_rl." of their names. A room is a folder with an __init__.py, or a
# file beside the rooms of a floor. A folder inside a room and the room itself may import each other: between them, as
# between the files of a room, the only rule is that there are no circles.
ROOMS: dict[str, str] = {
    # lambda_rl: what is deployed
    "registry": "checks",
    "ops": "",
    "checks": "",
    "files": "",
    "arguments": "checks",
    "penalties": "registry arguments",
    "knobs": "registry checks ops penalties",
    "control": "knobs ops",
    "observation": "registry arguments checks ops knobs control",
    "policy": "arguments checks files penalties knobs control observation",
    "attach": "arguments checks penalties knobs control",
    "seeing": "checks files attach",
    "first_look": "observation policy attach",
    "schedules": "arguments checks knobs observation policy attach first_look seeing",
    "schedules.guard": "arguments checks observation",
    "schedules.rules": "arguments observation attach",
    "constraints": "arguments checks attach",
    "integrations": "attach checks schedules",
    "suggest": "arguments checks observation attach",
    "public": "attach penalties knobs control observation policy schedules suggest",
    "lambda_rl": "public",
    "cli": "arguments checks knobs policy suggest",
    "__main__": "",
    # envs: what is controlled
    "envs.data": "registry checks files",
    "envs.networks": "registry",
    "envs.optimizers": "registry penalties observation envs.networks",
    "envs.tasks": "registry checks penalties envs.data envs.networks envs.optimizers",
    "envs.hardware": "files envs.data envs.networks",
    "envs.training": "penalties knobs observation envs.data envs.networks envs.optimizers envs.tasks envs.hardware",
    "envs.reward": "",
    "envs.render": "",
    "envs.moved": "knobs penalties envs.networks envs.tasks",
    "envs.control_problem": "knobs control observation envs.reward envs.tasks envs.training envs.moved",
    "envs.faces": (
        "knobs control observation envs.data envs.tasks envs.training envs.reward envs.render envs.control_problem"
        " envs.moved"
    ),
    "envs.dealing": "envs.tasks",
    "envs.env": "knobs control observation envs.data envs.tasks envs.training envs.reward envs.faces",
    "envs.vector_env": "knobs control envs.dealing envs.data envs.tasks envs.training envs.reward envs.faces envs.env",
    "envs.judging": (
        "knobs control observation schedules schedules.rules envs.data envs.tasks envs.training envs.reward"
        " envs.control_problem envs.moved"
    ),
    "envs": "",
    # agents: who learns, and who judges
    "agents": "",
    "agents.options": "checks envs.data envs.hardware envs.training",
    "agents.clusters": "envs.hardware envs.tasks envs.faces envs.vector_env",
    "agents.presenting": "checks files observation policy envs.networks envs.tasks",
    "agents.record": "files envs.hardware",
    "agents.ppo": (
        "checks files knobs control observation policy schedules envs.data envs.tasks envs.reward envs.judging"
        " envs.vector_env agents.options agents.clusters agents.record agents.presenting"
    ),
    "agents.baselines": (
        "lambda_rl registry checks files suggest envs envs.data envs.hardware envs.tasks envs.training envs.judging"
    ),
    "agents.baselines.crew": "envs.data envs.training envs.judging agents.clusters",
    "agents.baselines.rivals": (
        "lambda_rl suggest envs.networks envs.optimizers envs.tasks envs.training envs.reward envs.control_problem"
        " envs.judging"
    ),
    "agents.comparison": (
        "lambda_rl checks files knobs envs.data envs.tasks envs.training envs.judging agents.record agents.presenting"
        " agents.ablation agents.baselines agents.baselines.crew agents.baselines.rivals"
    ),
    "agents.comparison.asked": (
        "checks envs.data envs.hardware envs.tasks envs.training agents.ablation agents.baselines agents.options"
        " agents.record agents.comparison.evidence agents.comparison.report"
    ),
    "agents.comparison.evidence": "",
    "agents.comparison.figures": "files agents.presenting agents.baselines agents.comparison.evidence",
    "agents.comparison.report": "files agents.comparison.evidence agents.comparison.figures",
    "agents.constrained": "constraints checks files agents.record agents.presenting agents.comparison",
    "agents.warm_start": (
        "checks files knobs control observation policy schedules.guard envs.data envs.tasks envs.training envs.reward"
        " envs.control_problem agents.options agents.clusters agents.record agents.presenting agents.ppo"
    ),
    "agents.ablation": (
        "lambda_rl checks knobs observation policy envs.training envs.judging agents.baselines agents.ppo agents.record"
        " agents.warm_start"
    ),
    "agents.atlas": (
        "lambda_rl checks files suggest observation envs.data envs.networks envs.optimizers envs.tasks envs.training"
        " envs.judging agents.options agents.clusters agents.record agents.presenting agents.baselines"
        " agents.comparison"
    ),
    "agents.foreign": (
        "lambda_rl knobs checks files suggest schedules.rules agents.options agents.clusters agents.record"
        " agents.presenting agents.comparison agents.foreign.families agents.foreign.feedback"
    ),
    "agents.foreign.families": "envs.data agents.foreign",
    "agents.foreign.feedback": (
        "lambda_rl observation attach suggest agents.presenting agents.comparison agents.comparison.evidence"
        " agents.foreign"
    ),
    "agents.foreign.rivals": (
        "lambda_rl checks files observation schedules.rules envs.data envs.tasks envs.training agents.options"
        " agents.clusters agents.record agents.presenting agents.ablation agents.baselines agents.baselines.crew"
        " agents.baselines.rivals agents.comparison agents.comparison.evidence agents.foreign agents.foreign.feedback"
    ),
    "agents.fresh_tasks": (
        "lambda_rl checks knobs envs.tasks envs.training agents.options agents.record agents.presenting agents.ablation"
        " agents.comparison agents.foreign agents.warm_start"
    ),
    "agents.gallery": (
        "lambda_rl checks files suggest agents.options agents.clusters agents.record agents.presenting agents.foreign"
        " agents.foreign.feedback agents.gallery.mnist_script"
    ),
    "agents.gallery.mnist_script": "lambda_rl agents.clusters agents.presenting agents.foreign agents.foreign.families",
    "agents.learning_lambda": "lambda_rl checks files agents.record agents.presenting",
    "agents.many_knobs": (
        "lambda_rl checks files penalties envs.tasks envs.training envs.judging agents.options agents.record"
        " agents.presenting agents.baselines agents.comparison"
    ),
    "agents.model_cards": (
        "policy knobs envs.optimizers envs.tasks agents.presenting agents.baselines agents.comparison agents.foreign"
    ),
    "agents.scaling": (
        "checks files envs.tasks agents.options agents.clusters agents.presenting agents.record agents.ppo"
    ),
    "agents.single_run": "files schedules envs.tasks envs.judging agents.options agents.presenting agents.record",
    "agents.command_line": (
        "lambda_rl checks cli policy envs.tasks agents.presenting agents.record agents.ppo agents.warm_start"
        " agents.ablation agents.atlas agents.comparison agents.foreign agents.foreign.rivals agents.gallery"
        " agents.fresh_tasks agents.baselines agents.benchmark agents.reproduction.lu2017 agents.model_cards"
        " agents.single_run"
    ),
    "agents.reproduction": "",
    "agents.reproduction.lu2017": (
        "files policy schedules envs.data envs.tasks envs.training envs.judging agents.options agents.record"
        " agents.presenting agents.comparison"
    ),
    "agents.reproduction.lu2017.drawing": "files penalties agents.presenting agents.reproduction.lu2017.findings",
    "agents.reproduction.lu2017.findings": "",
    "agents.benchmark": (
        "checks files envs.data envs.hardware envs.networks envs.tasks envs.training envs.reward envs.vector_env"
        " agents.presenting agents.comparison agents.ppo agents.options"
    ),
    "agents.benchmark.accelerator": (
        "envs.networks envs.tasks envs.training agents.presenting agents.benchmark.machine"
        " agents.benchmark.opponents"
    ),
    "agents.benchmark.deployed": "lambda_rl attach agents.benchmark.machine",
    "agents.benchmark.mixture": "envs.data envs.tasks envs.training agents.ppo agents.benchmark.opponents",
    "agents.benchmark.machine": "envs.hardware envs.networks envs.tasks agents.record",
    "agents.benchmark.opponents": (
        "registry penalties control envs.data envs.networks envs.optimizers envs.tasks envs.training envs.reward"
        " agents.options agents.benchmark.machine"
    ),
}

MODULES = modules()


def room_of(module: str) -> str:
    """The name in ROOMS of the room that a module stands in; the module itself where it stands on a floor."""
    path = MODULES[module]
    if path.name != "__init__.py" and path.parent not in FLOORS.values():
        module = module.rpartition(".")[0]
    return module.removeprefix("lambda_rl.")


def imported(path: Path, package: str) -> set[str]:
    """Modules of the house that a file imports, anywhere in it, by full name; of others their full names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - (node.level - 1)]
                base = ".".join([*parent, base] if base else parent)
            inside = {f"{base}.{alias.name}" for alias in node.names}
            names.update(inside & MODULES.keys() or {base})
            if inside - MODULES.keys():
                names.add(base)
    return names


@functools.cache
def imports_of(module: str) -> frozenset[str]:
    path = MODULES[module]
    return frozenset(imported(path, module if path.name == "__init__.py" else module.rpartition(".")[0]))


def third_party(names: AbstractSet[str]) -> set[str]:
    roots = {name.split(".")[0] for name in names}
    return roots - set(sys.stdlib_module_names) - {"lambda_rl", "__future__"}


def nested(one: str, other: str) -> bool:
    """Whether one of two rooms is inside the other (a floor is no room)."""
    floors = {floor.removeprefix("lambda_rl.") for floor in FLOORS}
    outer, inner = sorted((one, other), key=len)
    return outer not in floors and inner.startswith(f"{outer}.")


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    names = imports_of(module)
    assert not {"envs", "agents", "scripts", "tests"} & {name.split(".")[0] for name in names}
    floor = max((floor for floor in FLOORS if f"{module}.".startswith(f"{floor}.")), key=len)
    allowed = {"lambda_rl": BASE, "lambda_rl.envs": ENVS, "lambda_rl.agents": AGENTS}[floor]
    allowed = allowed | INTEGRATIONS.get(module, set())
    assert third_party(names) <= allowed, f"{module} may not import {third_party(names) - allowed}"
    own = {name for name in names if name.split(".")[0] == "lambda_rl"}
    assert own <= MODULES.keys()
    room = room_of(module)
    entered = {room_of(name) for name in own} - {room}
    closed = {other for other in entered if not nested(room, other)} - set(ROOMS[room].split())
    assert not closed, f"{module} imports from {sorted(closed)}, which the table ROOMS closes to {room}"


def test_every_room_is_in_the_table_and_every_open_door_is_used() -> None:
    used: dict[str, set[str]] = {room_of(module): set() for module in MODULES}
    for module in MODULES:
        room = room_of(module)
        used[room] |= {room_of(name) for name in imports_of(module) & MODULES.keys()}
    assert used.keys() == ROOMS.keys()
    unused = {room: left for room in ROOMS if (left := set(ROOMS[room].split()) - used[room])}
    assert not unused, "the table allows what nobody needs"


def test_the_table_has_no_circle_and_no_arrow_upwards() -> None:
    def floor(room: str) -> int:
        return ("envs", "agents").index(top) + 1 if (top := room.split(".")[0]) in ("envs", "agents") else 0

    def outermost(room: str) -> str:
        return min((other for other in ROOMS if other == room or nested(other, room)), key=len)

    graph: dict[str, set[str]] = {}
    for room, others in ROOMS.items():
        assert all(floor(other) <= floor(room) for other in others.split()), room
        graph.setdefault(outermost(room), set()).update(map(outermost, others.split()))
    for room, others in graph.items():
        others.discard(room)  # of rooms inside one room: their circles show between modules
    list(TopologicalSorter(graph).static_order())


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imports_of(module) & MODULES.keys() - {module} for module in MODULES}
    list(TopologicalSorter(graph).static_order())


def test_relative_imports_are_told_from_the_package_that_they_stand_in(tmp_path: Path) -> None:
    path = tmp_path / "file.py"
    path.write_text(
        "from . import a\nfrom .b import c\nfrom ...data import sets\nfrom ....checks import d\nimport torch.nn"
    )
    assert imported(path, "lambda_rl.envs.tasks.inner") == {
        "lambda_rl.envs.tasks.inner",
        "lambda_rl.envs.tasks.inner.b",
        "lambda_rl.envs.data.sets",
        "lambda_rl.checks",
        "torch.nn",
    }


def test_every_folder_with_a_module_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    names = {
        name if path.name == "__init__.py" else name.rpartition(".")[0] for name, path in MODULES.items()
    }
    assert set(listed) == names
    assert len(listed) == len(names)
    assert names <= MODULES.keys(), "a folder without __init__.py"


def test_scripts_are_thin_and_import_by_the_mapped_names() -> None:
    for path in sources("scripts"):
        names = imported(path, "scripts")
        assert not {"envs", "agents", "scripts", "tests"} & {name.split(".")[0] for name in names}, path.name
        assert third_party(names) <= AGENTS, path.name


def test_no_test_imports_a_test() -> None:
    tests = {path.stem for path in sources("tests") if path.parent != ROOT / "tests" / "helpers"}
    for path in sources("tests"):
        assert not tests & {name.split(".")[0] for name in imported(path, "")}, name_of(path)
