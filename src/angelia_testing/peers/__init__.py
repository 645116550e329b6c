"""Real servers on free loopback ports, started by fixtures."""
