"""Signing in: passwords, providers, sessions, and who may act from which page."""
