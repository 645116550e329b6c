"""Message -> content that knows no medium; templates; text tools."""
