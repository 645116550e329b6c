"""All pages in one list: what the app includes."""

from angelia.web.pages import (
    addresses,
    away,
    exchange,
    feeds,
    follows,
    inbox,
    preferences,
    profile,
    reports,
    rules,
    schedules,
    sessions,
    set_password,
    static,
    tokens,
    topics,
    types,
    why,
)
from angelia.web.pages.admin import rooms as admin_rooms
from angelia.web.signin import local

ROOMS = (
    static,
    reports,
    local,
    inbox,
    rules,
    why,
    set_password,
    types,
    preferences,
    exchange,
    schedules,
    away,
    follows,
    addresses,
    feeds,
    tokens,
    sessions,
    profile,
    topics,
    *admin_rooms.ROOMS,
)
