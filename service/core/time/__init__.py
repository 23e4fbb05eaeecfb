"""Trusted time: compares the boot clock, the wall clock and the vendor's clock."""
