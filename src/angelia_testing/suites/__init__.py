"""Conformance suites: what each implementation of a contract must keep, ours and those of others alike."""
