"""For every test: no outer environment, no foreign address, nothing left behind, no silent skip."""

pytest_plugins = [
    "tests.brokers",
    "tests.secured",
    "tests.plugins.environment",
    "tests.plugins.leftovers",
    "tests.plugins.loopback",
    "tests.plugins.measured",
    "tests.plugins.skips",
    "pytester",
]
