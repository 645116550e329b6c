"""Angelia: a hub for personal messages in scientific computing."""

__version__ = "0.1.0"
