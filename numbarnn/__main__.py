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
    except ImportError as error:
        print(f"numbarnn: {error}", file=sys.stderr)
        return 1
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
