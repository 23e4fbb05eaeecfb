"""Tools for people and tests: brokers, a provider simulator and the demo. The service never imports this."""
