"""``python -m chicory``: the command, where it is not on the PATH."""

import sys

from chicory.cli import main

sys.exit(main())
