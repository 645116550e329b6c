"""Sample instruments: each a declaration and a function that computes real products from data which it makes."""

from pathlib import Path

FOLDER = Path(__file__).parent
"""Where their declarations are."""
