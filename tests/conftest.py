"""Settings of the whole suite."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# A loaded machine is slow now and then; that is no defect of the code under test.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", deadline=None, max_examples=20_000, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
