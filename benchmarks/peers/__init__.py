"""The same job done the way that a user would otherwise do it: with the vendor's SDK, or with FastStream."""
