"""Models as code that runs without Python, Numba or this package: shared libraries, C sources, small Python packages."""

from numbarnn.frozen.freezing import freeze

__all__ = ["freeze"]
