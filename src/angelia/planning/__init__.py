"""Decisions: pure functions; the caller brings the time and the facts."""
