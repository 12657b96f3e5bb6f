"""``python -m slipstick.cli``."""

import sys

from slipstick.cli import main

sys.exit(main())
