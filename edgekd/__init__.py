"""edgekd: from a folder of images and class names to a checked mobile model bundle."""

from edgekd.api import bench, check, open_bundle, run

__version__ = "0.1.0"

__all__ = ["__version__", "bench", "check", "open_bundle", "run"]
