"""All pages in one list: what the app includes."""

from angelia.web.pages import away, exchange, follows, inbox, preferences, reports, rules, schedules, set_password, static, types, why
from angelia.web.pages.admin import audit, groups, operations, people, site, sources, statistics, templates, types
from angelia.web.signin import local

ROOMS = (
    static,
    reports,
    local,
    inbox,
    rules,
    why,
    set_password,
    operations,
    types,
    templates,
    sources,
    people,
    groups,
    site,
    statistics,
    audit,
    preferences,
    exchange,
    schedules,
    away,
    follows,
)
