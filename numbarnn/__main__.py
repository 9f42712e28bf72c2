"""``python -m numbarnn`` is the command ``numbarnn``."""

import sys

from numbarnn.cli import main

sys.exit(main())
