"""The HTTP side of a house: what comes in passes streams, inlets and dialects, and comes to the framework last. Each is read when it is needed."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from angelia import tracing
from angelia.dialects.oda_recipe import RECIPE
from angelia.house import House, shown
from angelia.inlet import Accept
from angelia.making import make_outlets
from angelia.model.claims import NewsWish
from angelia.model.job import Job
from angelia.plugins import api_maker, narrow_api, part, signed_tokens_class
from angelia.web.context import RIGHTS, Context
from angelia.web.late import Late
from angelia.web.signin.sessions import Sessions
from angelia.wire.admission import Admission
from angelia.wire.asgi import App, Receive, Scope, Send
from angelia.wire.callers import Callers
from angelia.wire.circles import NoCircles, mark_of
from angelia.wire.express import Express
from angelia.wire.late import LateRoom
from angelia.wire.local import LocalDoor
from angelia.wire.site_tokens import SiteTokens
from angelia.wire.traced import traced_accept, traced_app

POSTED = ("/api/v1/messages", "/api/v1/publish/")
BONFIRE, HERMES, NTFY, ODA = "/api/v1/transitions", "/hermes/", "/ntfy/", "/dispatch-data/"
"""Where the dialects lie: each is read with the first request for it."""


class Front:
    """Made once for a house. `trusts_caller`: whoever calls is the operator, without a token; only for calls from this process."""

    def __init__(self, house: House, *, trusts_caller: bool = False) -> None:
        self._house, self._settings = house, house.settings
        web = self._settings.web
        self.door = LocalDoor(self._settings.local_socket, secrets.token_urlsafe(32).encode())
        self._callers = Callers(
            house.store, house.now, open_posting=web.open_posting, trusts_caller=trusts_caller, post_rate=web.post_rate, key=self.door.key
        )
        self._accept: Accept = traced_accept(house.intake.accept) if tracing.is_on() else house.intake.accept
        self._context = self._make_context()
        house.store.hear(lambda topic: self._context.forget_rights() if topic == RIGHTS else None)
        self._framework = Late(self._context, api_maker)

    def app(self) -> App:
        """Everything."""
        bonfire = LateRoom((BONFIRE,), self._framework, self._bonfire)
        hermes = LateRoom((HERMES,), bonfire, self._hermes)
        analyses = LateRoom((ODA,), hermes, self._oda)
        live = self._streams(self._inlet(self._hooks(analyses) if self._settings.hooks else analyses))
        ntfy = LateRoom((NTFY,), live, self._ntfy)
        return _traced(NoCircles(ntfy, mark_of(self._house.secret)))

    def express(self) -> Express | None:
        """For what is asked for most, past `app`. Where requests are traced none goes past."""
        if tracing.is_on():
            return None
        inlet: Express = part("angelia.inlets.express:ExpressInlet")(self._accept, self._callers, self._house.now, self._settings.web.max_body)
        return inlet

    def narrow(self, path: str) -> App:
        """For calls of this path of the API and no other."""
        late = Late(self._context, lambda: narrow_api(path))
        return self._inlet(late) if path.startswith(POSTED) else late

    def analyses(self) -> App:
        """The analysis service alone, for a port of its own."""
        dialect = self._oda(_nothing_behind)

        async def alone(scope: Scope, receive: Receive, send: Send) -> None:
            await dialect.at_root(scope, receive, send)

        return _traced(alone)

    async def load(self) -> None:
        """Read what the first page would wait for."""
        await self._framework.load_ahead()

    def _make_context(self) -> Context:
        house, settings = self._house, self._settings
        return Context(
            store=house.store,
            accept=self._accept,
            callers=self._callers,
            now=house.now,
            agents=house.agents,
            site=lambda: house.people.site,
            secret=house.secret,
            base_url=settings.house.base_url,
            title=settings.house.title,
            sessions=Sessions(house.store, house.now, settings.house.base_url),
            live=house.live,
            answers=house.answers,
            dispatcher=house.dispatcher,
            broker=house.broker,
            streams=house.streams,
            providers=house.providers,
            has_passwords=settings.web.passwords,
            proxies=settings.proxies,
            max_body=settings.web.max_body,
            changed=house.changed,
            refresh=house.refresh,
            ready=house.ready,
            verify=house.verify,
            recipes=self._recipes,
            renew=self._renewal(),
            scrapers=settings.scrapers,
            clean_up=make_outlets(settings).clean_up,
        )

    def _inlet(self, behind: App) -> App:
        inlet: App = part("angelia.inlets.http:HttpInlet")(behind, self._accept, self._callers, self._house.now, self._settings.web.max_body)
        return inlet

    def _streams(self, behind: App) -> App:
        """Live streams, before what is asked and answered."""
        house, wanted = self._house, self._settings.streams
        words = [word.strip() for word in wanted.algorithms.split(",")]
        signatures = signed_tokens_class()(wanted.public_key, words) if wanted.public_key else None
        admission = Admission(house.broker.exchanges, self._callers, house.outbound, lambda: house.now().timestamp(), signatures=signatures)
        named = (origin.strip().rstrip("/") for origin in wanted.origins.split(","))
        origins = frozenset({self._settings.house.base_url, *filter(None, named)})
        entry = part("angelia.web.stream.entry:Entry")(admission, self._context.sessions, origins)
        room = part("angelia.web.stream.native:Room")(house.streams, entry, lambda: house.now().timestamp())
        gate: App = part("angelia.web.stream.gate:StreamGate")(behind, room, house.sources)
        if signatures is None:
            return gate
        requests = part("angelia.dialects.brainlife_http:NotificationRequests")(house.store, admission, house.now)
        app: App = part("angelia.dialects.brainlife:BrainlifeDialect")(gate, house.streams, admission, house.broker, requests)
        return app

    def _bonfire(self, behind: App) -> App:
        house, most = self._house, self._settings.web.max_body
        app: App = part("angelia.dialects.bonfire:BonfireDialect")(behind, house.store, self._callers, house.now, house.wake_transitions, most)
        return app

    def _hooks(self, behind: App) -> App:
        house, settings = self._house, self._settings
        load, hook = part("angelia.inlets.mapping:load_mapping"), part("angelia.inlets.hooks:Hook")
        hooks = {name: hook(entry.source or name, entry.secret.encode(), load(entry.mapping)) for name, entry in settings.hooks.items()}
        made: App = part("angelia.inlets.hooks:HookInlet")(behind, hooks, self._accept, self._callers, house.store, house.now, settings.web.max_body)
        return made

    def _hermes(self, behind: App) -> App:
        app: App = part("angelia.dialects.hermes:HermesDialect")(behind, self._accept, self._callers, self._house.store, self._house.now)
        return app

    def _ntfy(self, behind: App) -> App:
        house, settings = self._house, self._settings
        base_url, most = settings.house.base_url, settings.web.max_body
        hub = part("angelia.dialects.ntfy:Hub")(
            house.store, house.sources, house.streams, self._accept, self._callers, house.now, shown, base_url, most
        )
        app: App = part("angelia.dialects.ntfy:NtfyDialect")(behind, hub)
        return app

    def _oda(self, behind: App) -> Any:
        house, settings = self._house, self._settings
        return part("angelia.dialects.oda:OdaDialect")(
            behind, house.dispatcher, house.store, self._accept, house.now, house.changed,
            settings=settings.oda, base_url=settings.house.base_url, folder=settings.data_dir.resolve() / "oda",
            most=settings.web.max_body, site=lambda: house.people.site, agents=frozenset(house.agents),
        )  # fmt: skip

    def _recipes(self, job: Job, values: Mapping[str, object]) -> dict[str, str]:
        """How clients of the dialects ask for the same."""
        return {RECIPE: self._house.recipe(job, values)}

    def _renewal(self) -> Callable[[str, str, Mapping[str, NewsWish]], str] | None:
        """What makes tokens of the site anew, where it signs any."""
        oda = self._settings.oda
        if not oda.secret:
            return None
        tokens = SiteTokens(oda.secret, oda.longest_refresh)
        return lambda token, login, wishes: str(part("angelia.dialects.oda_renewal:renewed")(tokens, token, login, wishes, self._house.now()))


def app_of(house: House, *, trusts_caller: bool = False) -> App:
    """Everything, for one who needs no more than that."""
    return Front(house, trusts_caller=trusts_caller).app()


def _traced(app: App) -> App:
    return traced_app(app) if tracing.is_on() else app


async def _nothing_behind(scope: Scope, receive: Receive, send: Send) -> None:
    raise OSError("nothing is behind the analysis service here")
