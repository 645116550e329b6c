"""Foreign wire forms that we speak, one room each."""
