"""Promises of the store about what the hub tells of itself, on SQLite and PostgreSQL alike."""

from angelia_testing.suites.announcements import AnnouncementSuite


class TestAnnouncements(AnnouncementSuite):
    """On each database: the fixture `store` has one of each kind."""
