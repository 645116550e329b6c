"""Is this the long run, `make soak`? The crash and fault tests are at their full size then."""

import os

IS_SOAK = os.environ.get("ANGELIA_SOAK") == "1"
