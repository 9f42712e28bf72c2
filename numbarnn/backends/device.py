"""The choice of a backend by the name of its device, which is made here alone, and what is missing where one cannot be used."""

import importlib
import importlib.util
import os

from numbarnn.checks import brief
from numbarnn.errors import DeviceError
from numbarnn.words import did_you_mean

# Of a backend of tests the module itself.
_BACKENDS = {"cpu": "numbarnn.backends.cpu", "cuda": "numbarnn.backends.cuda"}
DEVICES = tuple(_BACKENDS)


def backend(device: str):
    """Return the backend of a device; raise as `check_device`."""
    found = _BACKENDS[check_device(device)]
    return importlib.import_module(found) if isinstance(found, str) else found


def host():
    """Return the backend of the host, on which single steps and diagnostics run wherever a model is."""
    return backend("cpu")


def register_backend(device: str, module) -> None:
    """Enter a backend under the name of its device, or remove it (None): for tests."""
    if device in DEVICES:
        raise ValueError(f"{device!r} is a device of this package; give the backend another name")
    if module is None:
        _BACKENDS.pop(device, None)
    else:
        _BACKENDS[device] = module


def passes_of(module, layer):
    """Return what a backend runs a layer with: the module of its class, or of the nearest class above.

    Raises
    ------
    TypeError
        If there is none.
    """
    for cls in type(layer).__mro__:
        if cls.__name__ in module.LAYERS:
            return module.LAYERS[cls.__name__]
    raise TypeError(
        f"{type(layer).__name__} has no passes in {module.__name__}; it has those of {', '.join(module.LAYERS)}"
    )


def arithmetic_of(loss, table):
    """Return what computes a loss: "value_and_gradient", "term" or a key of a backend's table; None if nothing does.

    The nearest class that has one of them says.
    """
    for cls in type(loss).__mro__:
        for name in ("value_and_gradient", "term"):
            if vars(cls).get(name) is not None:
                return name
        if cls.__name__ in table:
            return cls.__name__
    return None


def check_device(device: str) -> str:
    """Return a device's name.

    Raises
    ------
    ValueError
        If it is none of `DEVICES`.
    DeviceError
        If it is "cuda" and there is no usable GPU; the message says what was found, and what to install.
    """
    if not isinstance(device, str) or device not in _BACKENDS:
        raise ValueError(
            f"device must be one of {', '.join(map(repr, DEVICES))}, got {brief(device)}{did_you_mean(device, DEVICES)}"
        )
    if device == "cuda":
        problem = _problem()
        if problem:
            raise DeviceError(f'device="cuda" cannot be used: {problem}')
    return device


def _problem():
    """Return what keeps CUDA from working, or None."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        return None  # Numba's simulator, for tests
    if importlib.util.find_spec("numba_cuda") is None:
        return (
            "the package numba-cuda is not installed; install numbarnn with the extra of the driver's version, "
            "pip install 'numbarnn[cuda13]' or 'numbarnn[cuda12]' (nvidia-smi prints the version), or use device=\"cpu\""
        )
    try:
        from numbarnn.kernels.cuda import driver
    except DeviceError as error:
        return str(error)
    except ImportError as error:
        return f"numba-cuda cannot be imported ({error}); install it with pip install 'numbarnn[cuda13]' or 'numbarnn[cuda12]'"
    return driver.problem()
