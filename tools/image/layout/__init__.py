"""Lays out the files of the image, inside the build stage: the Dockerfile runs it, with the base's Python.

It uses the standard library alone, for nothing else is installed there.
"""
