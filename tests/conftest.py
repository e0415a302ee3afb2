"""One hypothesis profile for all tests: same examples at every run, no deadline (a slow machine is not a bug)."""

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

# Hypothesis also draws numbers and words that it finds in the modules imported so far, and those are others on each
# worker of each run: with them a property would meet other examples in CI than on the machine of who wrote it.
nothing_found = Constants()
providers._get_local_constants = lambda: nothing_found

settings.register_profile(
    "davy", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("davy")
