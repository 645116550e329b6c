"""`angelia` and `python -m angelia`."""

import sys

from angelia.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
