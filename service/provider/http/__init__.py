"""HTTP: transports, bodies within limits, addresses that may be fetched from, connection errors."""
