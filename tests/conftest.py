"""What every test may ask for: real data, an empty folder to work in, and one setting of hypothesis.

In: ``LIGHTPANEL_TEST_DATA`` or ``../shared/data`` beside the checkout. Out: fixtures and hypothesis profiles.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

CHECKOUT = Path(__file__).resolve().parent.parent
"""The folder that holds ``pyproject.toml``."""

# No deadline: the first example of a test may compile a kernel, and two cores may be shared by many.
settings.register_profile("default", deadline=None, print_blob=True)
# The same examples on every machine: a red run must be red for the change, not for the draw.
settings.register_profile(
    "ci", deadline=None, print_blob=True, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of the repository."""
    return CHECKOUT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real test data, which is not part of the repository; skips where it is absent."""
    named = os.environ.get("LIGHTPANEL_TEST_DATA")
    folder = Path(named).expanduser().resolve() if named else CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real test data at {folder}: set LIGHTPANEL_TEST_DATA to the folder that holds it")
    return folder


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is also the current one, for commands that work on the folder they are called in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
