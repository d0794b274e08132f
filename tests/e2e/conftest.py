"""Runs the end-to-end programs bare and under Barswap and holds the two against each other.

pytest tests/e2e --build=build                 on the simulated machine of that build
pytest tests/e2e --build=build --shim=OLD.so   with another shim, to see a test fail
pytest tests/e2e --build=build --die           on the real driver, with larger sizes
"""

import os

import pytest

from house import House


def pytest_addoption(parser):
    parser.addoption(
        "--build",
        default=os.environ.get("BARSWAP_BUILD", "build"),
        help="the build folder (default: BARSWAP_BUILD, else build)",
    )
    parser.addoption("--shim", help="another libbarswap.so than the one of the build")
    parser.addoption(
        "--die", action="store_true", help="use the real driver instead of the simulated one"
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "full: left out where BARSWAP_E2E is brief, lean or short")


@pytest.fixture(scope="session")
def house(request, tmp_path_factory):
    return House(request.config, tmp_path_factory.mktemp("house"))


@pytest.fixture
def simulated(house):
    if house.die:
        pytest.skip("only the simulated machine can be made so")
    return house


def pytest_collection_modifyitems(config, items):
    """BARSWAP_E2E=brief: under a sanitizer each program runs once a test function, with the last of
    its ratios and the first of its seeds; what a sanitizer finds depends on paths, not on repetition.
    Tests marked `full` take paths that others take, at length. BARSWAP_E2E=lean: of the driver
    functions that fail, one, and the middle one of the ratios. BARSWAP_E2E=short: of the programs,
    one a test function; shows that another compiler's shim serves them."""
    level = os.environ.get("BARSWAP_E2E")
    if level not in ("brief", "lean", "short"):
        return
    told = {"brief": ("name", "mode", "function"), "lean": ("name", "mode"), "short": ()}[level]
    kept = {}
    for item in items:
        if item.get_closest_marker("full"):
            continue
        values = item.callspec.params if hasattr(item, "callspec") else {}
        if level == "lean" and values.get("ratio") == "four times":
            continue
        key = (item.originalname, *(values.get(name) for name in told))
        if key not in kept or "ratio" in values:
            kept[key] = item
    chosen = list(kept.values())
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
