"""Foreign code in processes of its own: limited, watched, and alive without the hub."""
