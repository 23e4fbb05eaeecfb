"""Pure decisions: no clock, no I/O, no asyncio, no logging.

Events come in, steps go out.
"""
