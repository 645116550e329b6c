"""Sample instruments: each a declaration and a function that computes real products from data which it makes."""

from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent
"""Where their declarations are."""
_NEEDED = ("astropy", "scipy", "jsonschema_rs")


def sample_tables() -> dict[str, dict[str, str]]:
    """The tables `[instruments.<name>]` of all of them; none where the extra `science` is not installed."""
    if any(find_spec(name) is None for name in _NEEDED):
        return {}
    return {path.stem.replace("_", "-"): {"declaration": str(path)} for path in sorted(FOLDER.glob("*.toml"))}
