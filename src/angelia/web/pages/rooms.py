"""All pages in one list: what the app includes."""

from angelia.web.pages import away, exchange, follows, inbox, preferences, reports, schedules, static, types
from angelia.web.signin import local

ROOMS = (static, reports, local, inbox, preferences, exchange, types, schedules, away, follows)
