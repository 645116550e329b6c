"""Whatever a page can do the API can do as well, and the other way round: each changing route of one side has its like on the other."""

import pkgutil
from importlib import import_module

from fastapi.routing import APIRoute

import angelia.web
from angelia.web.pages.admin.behalf import routes_for_another
from angelia.web.pages.rooms import ROOMS

# What a form of a page does -> what does the same over the API. `me` stands for /api/v1/people/{login}.
LIKE = """
/inbox/mark                              POST me/inbox/mark, POST me/inbox/acknowledge
/inbox/undo                              POST me/inbox/undo
/inbox/{delivery_id}/mark                POST me/inbox/mark, POST me/inbox/acknowledge
/inbox/{delivery_id}/object              PUT me/follows, DELETE me/follows, PUT me/mutes, DELETE me/mutes
/jobs/{job_id}/cancel                    POST /api/v1/jobs/{job_id}/cancel
/jobs/{job_id}/retry                     POST /api/v1/jobs/{job_id}/retry
/jobs/{job_id}/tell                      PUT me/follows, DELETE me/follows
/instruments/{name}/{product}            POST /api/v1/jobs, POST /api/v1/uploads
/write                                   POST /api/v1/messages
/job-news                                PUT me/job-news/{agent}
/rules/order                             POST me/rules/order
/rules/restore                           POST me/rules
/rules/clean                             POST me/rules/clean
/rules/new                               POST me/rules
/rules/preview                           POST me/rules/preview
/rules/{rule_id}                         PUT me/rules/{rule_id}
/rules/{rule_id}/switch                  PUT me/rules/{rule_id}
/rules/{rule_id}/move                    POST me/rules/order
/rules/{rule_id}/copy                    POST me/rules
/rules/{rule_id}/delete                  DELETE me/rules/{rule_id}
/types/cell                              PUT me/preferences/scopes/{scope}
/types/reset                             DELETE me/preferences/scopes/{scope}
/preferences/fallback                    PUT me/preferences
/preferences/fallback/move               PUT me/preferences
/preferences/escalate                    PUT me/preferences
/preferences/escalate/move               PUT me/preferences
/preferences/cell                        PUT me/preferences/scopes/{scope}, PUT me/preferences/unknown, DELETE me/preferences/unknown
/preferences/group                       PUT me/preferences/groups/{group}, DELETE me/preferences/groups/{group}
/preferences/preset                      PUT me/presets/{preset_id}, PUT me/presets/{preset_id}/agents/{agent}, DELETE me/presets/{preset_id}
/preferences/paused                      PUT me/paused/{agent}, DELETE me/paused/{agent}
/preferences/undo                        POST me/preferences/undo
/preferences/import                      POST me/preferences/plan
/preferences/import/apply                PUT me/preferences
/schedules                               PUT me/schedules/{name}
/schedules/delete                        DELETE me/schedules/{name}
/schedules/quiet                         PUT me/quiet
/schedules/quiet/delete                  DELETE me/quiet
/away                                    PUT me/hold
/away/end                                DELETE me/hold
/follows/add                             PUT me/follows
/follows/remove                          DELETE me/follows
/follows/mute                            PUT me/mutes
/follows/unmute                          DELETE me/mutes
/addresses                               POST me/addresses
/addresses/link                          POST me/addresses/link
/addresses/verify                        POST me/addresses/{address_id}/verify
/addresses/{address_id}/code             POST me/addresses/{address_id}/code
/addresses/{address_id}/verify           POST me/addresses/{address_id}/verify
/addresses/{address_id}/test             POST me/addresses/{address_id}/test
/addresses/{address_id}/delete           DELETE me/addresses/{address_id}
/addresses/{address_id}/{change}         PATCH me/addresses/{address_id}
/feeds                                   POST me/feeds
/feeds/{feed_id}/rotate                  POST me/feeds/{feed_id}/rotate
/feeds/{feed_id}/revoke                  DELETE me/feeds/{feed_id}
/tokens                                  POST me/tokens
/tokens/{token_id}/revoke                DELETE me/tokens/{token_id}
/sessions/end-others                     DELETE me/sessions
/sessions/{session_id}/end               DELETE me/sessions/{session_id}
/profile                                 PATCH me
/profile/password                        PUT me/password
/profile/identities/remove               DELETE me/identities
/set-password/{token}                    PUT me/password
/topics/{name}/follow                    PUT me/topics/{key}
/topics/{name}/leave                     DELETE me/topics/{key}
/admin/groups/{name}                     PUT /api/v1/groups/{name}
/admin/groups/{name}/delete              DELETE /api/v1/groups/{name}
/admin/groups/on/object                  PUT /api/v1/relations
/admin/operations/replay                 POST /api/v1/deliveries/replay
/admin/operations/agents/{name}          PATCH /api/v1/agents/{name}
/admin/operations/breakers               DELETE /api/v1/breakers
/admin/operations/parked                 POST /api/v1/parked/release
/admin/operations/check                  GET /api/v1/conservation
/admin/people                            POST /api/v1/people
/admin/people/{login}                    PATCH me
/admin/people/{login}/sessions/end       POST me/sessions/end
/admin/people/{login}/identities/remove  DELETE me/identities
/admin/people/{login}/password-link      POST me/password-link
/admin/people/{login}/as                 GET me/view
/admin/site/plan                         POST /api/v1/site/plan
/admin/site                              PUT /api/v1/site
/admin/sources/{name}                    PUT /api/v1/sources/{name}
/admin/sources/{name}/tokens             POST /api/v1/sources/{name}/tokens
/admin/sources/{name}/tokens/{token_id}/revoke  DELETE /api/v1/sources/{name}/tokens/{token_id}
/admin/templates/edit                    PUT /api/v1/templates, DELETE /api/v1/templates
/admin/templates/restore                 POST /api/v1/templates/restore
/admin/templates/preview                 POST /api/v1/templates/preview
/admin/types/{key}                       PUT /api/v1/types/{key}
"""
# Pages that change nothing of which the API could speak: who sits at a browser, what the browser reports, another hub's token.
ONLY_PAGES = {"/sign-in", "/sign-out", "/sign-in/{name}/logout", "/csp-reports", "/job-news/token"}
# What programs say to the hub; people are told of it, and look at it under Live and Jobs.
ONLY_API = {"POST /api/v1/events/{exchange}", "POST /api/v1/jobs/{job_id}/callback"}
# What a token of an administrator may do for somebody else, and no page: what is in her inbox and what is secret of hers are hers; her name, her
# password, her sessions and identities have their forms on the page of her account.
ONLY_API_FOR_ANOTHER = """
POST me/inbox/mark, POST me/inbox/acknowledge, POST me/inbox/undo
POST me/feeds, POST me/feeds/{feed_id}/rotate, DELETE me/feeds/{feed_id}
POST me/tokens, DELETE me/tokens/{token_id}
PUT me/password, DELETE me/sessions, DELETE me/sessions/{session_id}
PUT me/job-news/{agent}, PUT me/topics/{key}, DELETE me/topics/{key}
"""


def _routes(router):
    return [route for route in router.routes if isinstance(route, APIRoute)]


def in_pages():
    """What forms are sent to."""
    found = {route.path for room in ROOMS for route in _routes(room.router) if "POST" in (route.methods or ())}
    return {path for path in found if not path.startswith("/api/")}


def in_api():
    """`METHOD path` of all that the API does."""
    rooms = [import_module(f"angelia.web.{found.name}") for found in pkgutil.iter_modules(angelia.web.__path__)]
    routers = [room.router for room in (*rooms, *ROOMS) if hasattr(room, "router")]
    posting = "POST /api/v1/messages"  # stands before the framework's routes, since it is hot
    return {posting} | {
        f"{method} {route.path}"
        for router in routers
        for route in _routes(router)
        for method in route.methods or ()
        if route.path.startswith("/api/")
    }


def named(text):
    """Routes of the API, with the place of a person in full."""
    return {one.strip().replace(" me", " /api/v1/people/{login}") for line in text.strip().splitlines() for one in line.split(",")}


def like():
    """Each page's route with those of the API."""
    lines = [line.split(maxsplit=1) for line in LIKE.strip().splitlines()]
    return {page: named(others) for page, others in lines}


def test_the_api_can_do_what_pages_can():
    assert in_pages() - like().keys() - ONLY_PAGES == set(), "which route of the API does the same?"
    assert (like().keys() | ONLY_PAGES) - in_pages() == set(), "there is no such form any more"
    assert {one for others in like().values() for one in others} - in_api() == set(), "the API can't do that"


def test_pages_can_do_what_the_api_can():
    changes = {one for one in in_api() if one.partition(" ")[0] not in ("GET", "HEAD", "OPTIONS")}
    assert changes - {one for others in like().values() for one in others} - ONLY_API == set(), "which page does the same?"
    assert ONLY_API - in_api() == set()


def test_an_administrator_changes_on_pages_what_the_api_lets_her_change_for_another():
    pages = like()
    forms = {route.path for route in routes_for_another() if "POST" in (route.methods or ())}
    reached = {one for page in forms for one in pages[page]} | {one for page in pages if page.startswith("/admin/people/") for one in pages[page]}
    hers = {one for one in in_api() if " /api/v1/people/{login}" in one and not one.startswith(("GET", "HEAD"))}
    assert hers - reached == named(ONLY_API_FOR_ANOTHER), "which page does the same, or why does none?"
