"""What tests share: the switch for slow ones, and where the sample data and golden numbers lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import vltool  # noqa: F401 - sets how torch's threads wait, before torch starts any

ROOT = Path(__file__).parents[1]


torch.set_num_threads(1)  # the tests' networks are tiny, and two workers share the processor


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the minutes-long tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: run pytest --slow, or make test SLOW=1")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of sample data beside the project; tests that need it skip where it is absent."""
    found = Path(os.environ.get("VLTOOL_SHARED", ROOT.parent / "shared")) / "data"
    if not found.is_dir():
        pytest.skip("the sample data (../shared/data beside the project) is absent")
    return found
