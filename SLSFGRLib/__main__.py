"""``python -m SLSFGRLib`` is the same as the command ``slsfgr``."""

import sys

from .commands import main

sys.exit(main())
