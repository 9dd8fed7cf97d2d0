"""`python -m node`: the same program as the console script."""

import sys

from node.cli.main import main

sys.exit(main())
