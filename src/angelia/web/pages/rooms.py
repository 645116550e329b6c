"""All pages in one list: what the app includes."""

from angelia.web.pages import inbox, message, reports, static
from angelia.web.signin import local

ROOMS = (static, reports, local, inbox, message)
