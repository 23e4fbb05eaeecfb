"""For every test: no outer environment, no foreign address, nothing left behind, no silent skip."""

from hypothesis import HealthCheck, settings

# Timings never decide a test: on a busy machine any example may take a while.
settings.register_profile("scribe", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("few", settings.get_profile("scribe"), max_examples=10)
settings.load_profile("scribe")

pytest_plugins = [
    "tests.brokers",
    "tests.secured",
    "tests.plugins.collector",
    "tests.plugins.environment",
    "tests.plugins.leftovers",
    "tests.plugins.loopback",
    "tests.plugins.measured",
    "tests.plugins.passed",
    "tests.plugins.skips",
    "pytester",
]
