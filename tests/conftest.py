"""One hypothesis profile for all tests: same examples at every run, no deadline (a slow machine is not a bug)."""

from hypothesis import settings

settings.register_profile("davy", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("davy")
