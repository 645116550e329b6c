"""Who people are to objects: one directory a file."""
