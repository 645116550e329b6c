"""The pages of administrators, in one list."""

from angelia.web.pages.admin import audit, expectations, groups, operations, people, site, sources, statistics, templates, types

ROOMS = (audit, expectations, groups, operations, people, site, sources, statistics, templates, types)
