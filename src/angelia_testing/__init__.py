"""The public test kit: contract suites, fakes, builders, real servers."""
