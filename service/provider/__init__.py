"""The provider adapter: the only place that knows the vendor's wire, and the only user of httpx."""
