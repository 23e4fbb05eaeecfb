"""The wire contract, v1: requests in, results and failures out.

It imports nothing else of the service.
"""
