"""The integrations without their frameworks."""

from __future__ import annotations

import importlib
import sys

import pytest

FRAMEWORKS = {"lightning": ("lightning", "pytorch_lightning"), "huggingface": ("transformers",)}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_missing_framework_is_said_clearly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = f"lambda_rl.integrations.{name}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    for framework in FRAMEWORKS[name]:
        for loaded in [key for key in sys.modules if key.split(".")[0] == framework]:
            monkeypatch.setitem(sys.modules, loaded, None)
        monkeypatch.setitem(sys.modules, framework, None)
    importlib.import_module("lambda_rl.integrations")  # needs none
    with pytest.raises(ImportError, match=rf"pip install 'lambda-rl\[{name}\]'"):
        importlib.import_module(module)
