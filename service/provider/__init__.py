"""The provider adapter: the only code that knows the vendor's wire format, and the only user of httpx."""
