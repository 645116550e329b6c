"""The life of a message, one stage a file; stages hand over through the store only."""
