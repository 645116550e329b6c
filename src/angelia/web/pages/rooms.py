"""All pages in one list: what the app includes."""

from angelia.web.pages import inbox, reports, rules, static, why
from angelia.web.signin import local

ROOMS = (static, reports, local, inbox, rules, why)
