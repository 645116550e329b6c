"""The pages of administrators, in one list."""

from angelia.web.pages.admin import audit, groups, operations, people, site, sources, statistics, templates, types

ROOMS = (audit, groups, operations, people, site, sources, statistics, templates, types)
