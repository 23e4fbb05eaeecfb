"""The provider's answers as data, and the one table of its errors."""
