"""One run where a batch system starts it: `python -m angelia.sandbox.batch request.json`."""

import json
import sys
from pathlib import Path

from angelia.sandbox.keeper import keep

if __name__ == "__main__":
    keep(json.loads(Path(sys.argv[1]).read_bytes()))
