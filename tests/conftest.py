"""Settings of the whole suite."""

import os
import site
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# A loaded machine is slow now and then; that is no defect of the code under test.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", deadline=None, max_examples=20_000, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture
def fill_venv():
    """Let a virtual environment see the packages of this one, without the network; gives its interpreter."""

    def fill(folder: Path) -> Path:
        own = next(folder.glob("lib/python*/site-packages"))
        lines = [f"import site; site.addsitedir({place!r})\n" for place in site.getsitepackages()]
        (own / "outer.pth").write_text("".join([*lines, f"{Path(__file__).resolve().parent.parent}\n"]))
        return folder / "bin" / "python"

    return fill
