"""What is kept as JSON: written and read as a whole."""

from collections.abc import Mapping

Document = Mapping[str, object]
