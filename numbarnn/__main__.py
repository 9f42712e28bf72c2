"""The command ``numbarnn``, also as ``python -m numbarnn``; little is imported before Ctrl-C has a meaning."""

import sys

from numbarnn.kernels.interrupts import DeferredInterrupt


def main(arguments=None) -> int:
    """Run the command line; return the exit status, as `numbarnn.cli.main.main` does."""
    try:
        with DeferredInterrupt():  # a module that is imported half stays half
            from numbarnn.cli.main import main as run
    except KeyboardInterrupt:
        print("numbarnn: interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # what a broken install raises is anything at all
        message = _broken(error)
        if message is None:
            raise
        print(f"numbarnn: {message}", file=sys.stderr)
        return 1
    return run(arguments)


def _broken(error):
    """Return what to do about an error of an import, None for a fault of this package."""
    named = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    if named is not None and not named.startswith("numbarnn"):
        package = named.partition(".")[0]
        return f"the package {package} is not installed, or only in part: python -m pip install --force-reinstall {package}"
    owner = getattr(getattr(error, "obj", None), "__name__", None)  # a module that lacks what it should have
    modules = [owner] if isinstance(error, AttributeError) and owner in sys.modules else []
    traceback = error.__traceback__
    while traceback is not None:
        modules.append(traceback.tb_frame.f_globals.get("__name__", ""))
        traceback = traceback.tb_next
    found = [name.partition(".")[0] for name in modules if not name.startswith(("importlib", "_frozen_importlib"))]
    foreign = next((name for name in (owner, found[-1]) if name and name.partition(".")[0] != "numbarnn"), None)
    if foreign is None:
        return f"{error}" if isinstance(error, ImportError) else None
    package = foreign.partition(".")[0]
    return (
        f"{package} cannot be imported ({type(error).__name__}: {error}); it may be broken, or not fit the others: "
        f"python -m pip install --force-reinstall {package}"
    )


if __name__ == "__main__":
    sys.exit(main())
