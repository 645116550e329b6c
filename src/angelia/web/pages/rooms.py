"""All pages in one list: what the app includes."""

from angelia.web.pages import inbox, reports, static
from angelia.web.signin import local, oidc

ROOMS = (static, reports, local, oidc, inbox)
