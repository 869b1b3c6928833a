"""Names of networks, optimizers and penalties stand in their own class; elsewhere they come from it or from data."""

from __future__ import annotations

import re

from places import FLOORS, ROOT

from lambda_rl.envs.networks import NETWORKS
from lambda_rl.envs.optimizers import OPTIMIZERS, SGD, Adam
from lambda_rl.penalties import PENALTIES

# The tasks of a paper that is reproduced as it stands.
EXEMPT = ("agents/reproduction/lu2017/",)


def test_names_stand_in_their_own_class() -> None:
    names = (*NETWORKS, *PENALTIES, SGD.name, Adam.name)
    assert {SGD.name, Adam.name} <= set(OPTIMIZERS)
    quoted = re.compile(rf'"({"|".join(map(re.escape, names))})"')
    own = re.compile(rf"^    name = {quoted.pattern}$")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in (*FLOORS.values(), ROOT / "scripts")
        for path in sorted(folder.rglob("*.py"))
        if not str(path.relative_to(ROOT)).startswith(EXEMPT)
        for line in path.read_text(encoding="utf-8").splitlines()
        if quoted.search(line) and not own.match(line)
    ]
    assert not found
