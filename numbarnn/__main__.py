"""``python -m numbarnn`` is the command ``numbarnn``."""

import sys

from numbarnn.cli.main import main

sys.exit(main())
