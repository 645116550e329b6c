"""All pages in one list: what the app includes."""

from angelia.web.pages import addresses, feeds, inbox, profile, reports, sessions, static, tokens, topics
from angelia.web.signin import local

ROOMS = (static, reports, local, inbox, addresses, feeds, tokens, sessions, profile, topics)
