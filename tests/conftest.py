"""Settings of the whole suite."""

import os
import signal

from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell that starts us in the background has it ignored, and so would be every program that a test interrupts
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A loaded machine is slow now and then; that is no defect of the code under test.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", deadline=None, max_examples=20_000, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
