"""Administration: pages that only administrators find."""
