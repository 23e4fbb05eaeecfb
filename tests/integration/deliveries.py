"""The delivery modes that tests of whole clusters run in: the default, or what TEST_DELIVERY names."""

import os
from collections.abc import Mapping

_MODES = os.environ.get("TEST_DELIVERY", "exactly_once").split(",")
DELIVERIES: Mapping[str, Mapping[str, str]] = {mode: {"SCRIBE_KAFKA__DELIVERY": mode} for mode in _MODES}
"""What a service is told, by mode."""
