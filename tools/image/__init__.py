"""Builds and measures the image where no registry of images can be reached."""
