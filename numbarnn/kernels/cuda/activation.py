"""Activations, element by element."""

from numba import cuda

from numbarnn.kernels.activation import activate, slope
from numbarnn.kernels.cuda.launch import kernel


@kernel("n x x n")
def activate_values(real):
    """Make the kernel that applies an activation."""

    def activate_values(code, x, y, count):
        """Set y = f(x)."""
        for i in range(cuda.grid(1), count, cuda.gridsize(1)):
            y[i] = activate(code, x[i])

    return activate_values


@kernel("n x x x n")
def slope_values(real):
    """Make the kernel that back-propagates through an activation."""

    def slope_values(code, y, dy, dx, count):
        """Set dx = dy f'(x), in terms of y = f(x)."""
        for i in range(cuda.grid(1), count, cuda.gridsize(1)):
            dx[i] = dy[i] * slope(code, y[i])

    return slope_values
