"""The delivery modes that tests of whole clusters run in: the one place to switch another on."""

from collections.abc import Mapping

DELIVERIES: Mapping[str, Mapping[str, str]] = {"at_least_once": {}}
"""What a service is told, by mode. Once `SCRIBE_KAFKA__DELIVERY` exists, it is
{mode: {"SCRIBE_KAFKA__DELIVERY": mode} for mode in ("exactly_once", "at_least_once")}."""
