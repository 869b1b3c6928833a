"""Foreign loops are run with one thread of torch's, whatever a test before has set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lambda_rl.agents.foreign import runner


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with runner.one_thread():
        yield
