"""The API, feeds, and the pages that act without a login."""
