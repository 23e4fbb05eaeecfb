"""A look-alike of the provider's HTTP API on loopback, with quotas, faults, a clock to turn and a ledger
of what was billed. Built from documents alone: it was never compared with the live service.
"""

from sandbox.simulator.command import main
from sandbox.simulator.config import SimulatorConfig
from sandbox.simulator.faults import Fault
from sandbox.simulator.ledger import Ledger
from sandbox.simulator.server import Simulator, serve

__all__ = ["Fault", "Ledger", "Simulator", "SimulatorConfig", "main", "serve"]
