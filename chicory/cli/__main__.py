"""``python -m chicory.cli``: the command, where it is not on the PATH."""

import sys

from chicory.cli.main import main

sys.exit(main())
