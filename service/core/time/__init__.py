"""The time that decides: the boot clock, the wall clock and the vendor's clock, held against each other."""
