"""Faults on demand: failing system calls, full disks."""
