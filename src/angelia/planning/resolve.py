"""Message x person x now -> decisions, each with its Reason: the precedence rules R1-R12 as one pipeline, a function a rule.

R11 (digest content, folded repeats) and R12 (flood) need history and follow in `digest` and `flood`; here a digest gets its slot.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from angelia.model.claims import NewsWish, over
from angelia.model.delivery import Reason
from angelia.model.message import Message, RecipientKind, Severity, Wish, ancestry
from angelia.model.preference import ANY_TYPE, NOW, OFF, HoldPolicy, Mute, MuteLevel, Rule, Site, Statements, Treatment
from angelia.model.schedule import Schedule, ends_at, next_slot
from angelia.planning.decision import Decision, Profile, Resolution, Standing, Verdict
from angelia.planning.fallback import PREFIX as FALLBACK
from angelia.planning.fallback import order_of
from angelia.planning.following import is_followed
from angelia.planning.job_news import NewsDefaults, Step, fact_of, is_progress, news
from angelia.planning.matching import rule_matches

_IN_DIGEST = frozenset({Verdict.DIGEST, Verdict.HELD})


class Alike:
    """`resolve` for many candidates of one message: who is of one kind, and stands alike, is decided for alike, and only once.

    Which groups have addresses of their own is the same for all candidates of a message, so it is not compared.
    """

    def __init__(self, message: Message, site: Site, now: datetime) -> None:
        self._message, self._site, self._now = message, site, now
        self._named = {recipient.principal for recipient in message.recipients} | {message.actor}
        self._known: dict[tuple[int, frozenset[str], bool, bool], Resolution | None] = {}

    def __call__(self, profile: Profile, standing: Standing) -> Resolution | None:
        """As `resolve`."""
        if not profile.kind or profile.person.login in self._named:
            return resolve(self._message, profile, standing, self._site, self._now)
        key = profile.kind, standing.roles, standing.has_access, is_followed(self._message.object, profile.wants.follows)
        if key not in self._known:
            self._known[key] = resolve(self._message, profile, standing, self._site, self._now)
        return self._known[key]


@dataclass(slots=True)
class _Case:
    """What the rules pass on; lives for one call."""

    message: Message
    profile: Profile
    standing: Standing
    site: Site
    now: datetime
    scopes: tuple[str, ...]
    matching: list[Rule]
    because: list[str]
    is_to: bool = False
    is_group_only: bool = False


_Stated = dict[str, tuple[tuple[Treatment, ...], str]]


def resolve(message: Message, profile: Profile, standing: Standing, site: Site, now: datetime) -> Resolution | None:
    """None for one whom the message does not concern; else every decision. Pure; median below 30 us (benchmarks/resolving.py)."""
    if not profile.person.is_active or (message.is_restricted and not standing.has_access):  # R1
        return None
    tried = message.tried_address
    if tried is not None:
        return _tried(message, profile, *tried)
    case = _Case(message, profile, standing, site, now, ancestry(message.type), [], [])
    case.matching = _matching(case)
    _because(case)
    if not case.because:
        return None
    locked = _locked(case)
    dropped = _dropped(case)
    decisions = list(locked.values())
    for agent, (treatments, decided_by) in _stated(case).items():
        if agent in locked:
            continue
        for treatment in treatments:
            decisions.append(_decide(case, agent, treatment, decided_by, dropped))
    decisions = _fallen_back(case, decisions)
    if profile.person.group is not None:
        # A group has no inbox and misses no address: it is its members who are told where it has none of its own.
        decisions = [decision for decision in decisions if decision.agent in profile.reachable]
    return Resolution(tuple(case.because), tuple(decisions))


def judged(
    message: Message, profile: Profile, standing: Standing, site: Site, now: datetime, agents: Iterable[str], because: Decision, *, is_own: bool
) -> list[Decision]:
    """What `resolve` would say of these agents, if each were asked for a message that they do not bring yet: all wishes hold but the times.

    `because` lends its reason and `decided_by`. With `is_own` she named them herself: what the site switched off for all, she may use.
    None are judged where the message is not for her any more.
    """
    if not profile.person.is_active or (message.is_restricted and not standing.has_access):
        return []
    case = _Case(message, profile, standing, site, now, ancestry(message.type), [], [])
    case.matching = _matching(case)
    _because(case)
    return _judged(case, agents, because, is_own=is_own)


def _judged(case: _Case, agents: Iterable[str], because: Decision, *, is_own: bool) -> list[Decision]:
    locked, dropped, stated = _locked(case), _dropped(case), _stated(case)
    decisions = []
    for agent in agents:
        if agent in locked:
            decisions.append(locked[agent])
            continue
        treatments, decided_by = stated.get(agent, (_SILENCE, because.decided_by))
        treatment = treatments[0]
        if treatments is _OFF_BY_RULE or treatment.when != OFF or (is_own and decided_by.startswith("site:")):
            # Times are for what comes by itself: this comes late already. A rule that is silent about an agent has not switched it off.
            treatment, decided_by = replace(treatment, when=NOW), because.decided_by
        decision = _decide(case, agent, treatment, decided_by, dropped)
        if decision.verdict is Verdict.NOW:
            decision = replace(decision, reason=because.reason)
        decisions.append(decision)
    return decisions


_SILENCE = (Treatment(NOW),)


def _fallen_back(case: _Case, decisions: list[Decision]) -> list[Decision]:
    """Where she has no address for any of the agents that would bring it, the first that can stands in for them."""
    if case.profile.wants.fallback is None and not case.site.fallback:
        return decisions
    missed = next((d for d in decisions if d.reason is Reason.NO_VERIFIED_ADDRESS), None)
    if missed is None or any(d.verdict.is_delivery and d.agent not in case.site.pull for d in decisions):
        return decisions
    order = order_of(case.profile.wants, case.site)
    had = {d.agent for d in decisions if d.reason is Reason.NO_VERIFIED_ADDRESS} | case.site.pull
    because = Decision(missed.agent, Verdict.NOW, Reason.FALLBACK, FALLBACK + missed.agent)
    for decision in _judged(case, [agent for agent in order.agents if agent not in had], because, is_own=order.is_own):
        if decision.verdict.is_delivery:
            return [*(d for d in decisions if d.agent != decision.agent), decision]
    return decisions


def _tried(message: Message, profile: Profile, agent: str, address: str) -> Resolution | None:
    """A test that she asked for reaches the one address, past all her wishes, and nobody else."""
    if all(recipient.principal != profile.person.login for recipient in message.recipients):
        return None
    if agent not in profile.reachable:
        return Resolution(("to",), (Decision(agent, Verdict.SKIPPED, Reason.NO_VERIFIED_ADDRESS, "test", address=address),))
    return Resolution(("to",), (Decision(agent, Verdict.NOW, Reason.CHOSEN, "test", address=address),))


def _matching(case: _Case) -> list[Rule]:
    """The rules that speak, top-down to the first final one: what stands below it changes nothing, neither who is a candidate nor R4."""
    speaking = []
    for rule in case.profile.wants.rules:
        if rule_matches(rule, case.message, case.standing.roles):
            speaking.append(rule)
            if rule.is_final:
                break
    return speaking


def _because(case: _Case) -> None:
    """R2: everything that makes her a candidate, kept as reasons."""
    message, profile, because = case.message, case.profile, case.because
    login = profile.person.login
    via_group = False
    for recipient in message.recipients:
        if recipient.principal == login:
            because.append(recipient.principal if recipient.group is not None else str(recipient.kind))
            case.is_to = case.is_to or recipient.kind is RecipientKind.TO
        elif (group := recipient.group) is not None and group in profile.groups:
            because.append(recipient.principal)
            via_group = True
    others = len(because)
    for scope in (*case.scopes, ANY_TYPE):
        if scope in case.site.audience:
            because.extend(f"role:{role}" for role in sorted(case.site.audience[scope] & case.standing.roles))
            break
    because.extend(f"rule:{rule.rule_id}" for rule in case.matching if rule.makes_candidates)
    if is_followed(message.object, profile.wants.follows):
        because.append("follow")
    case.is_group_only = via_group and len(because) == others and all(reason.startswith("group:") for reason in because)


def _locked(case: _Case) -> dict[str, Decision]:
    """R3: locked agents deliver now, past all that she wishes; what the sender keeps back until a time waits for it like everything else."""
    decisions = {}
    start = _start(case)
    for scope in (*case.scopes, ANY_TYPE):
        for agent in sorted(case.site.locks.get(scope, ())):
            if agent in decisions or (is_progress(case.message) and agent not in case.site.editing):
                # Who must be told of jobs must be told of their ends: progress is not worth a letter each time.
                continue
            if agent not in case.profile.reachable:
                decisions[agent] = Decision(agent, Verdict.SKIPPED, Reason.NO_VERIFIED_ADDRESS, f"lock:{scope}")
            elif start > case.now:
                decisions[agent] = Decision(agent, Verdict.DEFERRED, Reason.NOT_BEFORE, f"lock:{scope}", start, is_locked=True)
            else:
                decisions[agent] = Decision(agent, Verdict.NOW, Reason.LOCKED, f"lock:{scope}", is_locked=True)
    return decisions


def _dropped(case: _Case) -> tuple[Reason, str] | None:
    """R4: her own action, or what she muted, goes nowhere."""
    message, wants = case.message, case.profile.wants
    muted = muted_by(message, wants.mutes, case.now, is_to=case.is_to) if wants.mutes else None
    if muted is not None:
        return muted
    if message.actor == case.profile.person.login and not case.is_to and not any(r.includes_own for r in case.matching):
        return Reason.OWN_ACTION, "own_action"
    if message.is_test and not wants.takes_tests:
        return Reason.TEST_TRAFFIC, "test"
    return None


def muted_by(message: Message, mutes: Mapping[str, Mute], now: datetime, *, is_to: bool) -> tuple[Reason, str] | None:
    """Is it muted, and by which entry? `is_to`: it names her, which only a full mute keeps from her."""
    found = _mute(message.object, mutes, now) if message.object else None
    if found is None:
        return None
    level, entry = found
    if level is MuteLevel.FULL:
        return Reason.MUTED_FULLY, f"mute:{entry}"
    return None if is_to else (Reason.MUTED, f"mute:{entry}")


def _mute(ref: str, mutes: Mapping[str, Mute], now: datetime) -> tuple[MuteLevel, str] | None:
    """The nearest mute that is not over, and its entry."""
    entry = ref
    while True:
        found = mutes.get(entry)
        if found is not None and found.holds_at(now):
            return found.level, entry
        if (cut := ref.rfind("/")) <= 0:
            return None
        ref = ref[:cut]
        entry = f"{ref}/"


def _stated(case: _Case) -> _Stated:
    """R5-R7: per agent the first statement wins: rules, her scopes from near to far, the site's, `unknown`, the site's `*`."""
    stated: _Stated = {}
    settled_by = _from_rules(case, stated)
    wants, site = case.profile.wants, case.site
    rest: _Stated = {} if settled_by else stated
    if wants.preferences:
        for scope in case.scopes:
            _add(rest, wants.preferences.get(scope), "preference:", scope)
        _add(rest, wants.preferences.get(ANY_TYPE), "preference:", ANY_TYPE)
    for scope in case.scopes:
        _add(rest, site.preferences.get(scope), "site:", scope)
    _add(rest, wants.unknown, "unknown", "")
    _add(rest, site.preferences.get(ANY_TYPE), "site:", ANY_TYPE)
    if settled_by:
        for agent, statement in rest.items():
            if agent not in stated:
                stated[agent] = statement if agent == "web" else (_OFF_BY_RULE, settled_by)
    return stated


_OFF_BY_RULE = (Treatment(OFF),)


def _from_rules(case: _Case, stated: _Stated) -> str:
    """R5: what the rules say, into `stated`; the name of the final rule that settles all agents, or ""."""
    for rule in case.matching:
        _add(stated, rule.statements, "rule:", rule.rule_id)
    last = case.matching[-1] if case.matching else None
    return f"rule:{last.rule_id}" if last is not None and last.is_final else ""


def _add(stated: _Stated, statements: Statements | None, kind: str, scope: str) -> None:
    if statements:
        for agent, treatments in statements.items():
            if agent not in stated:
                stated[agent] = treatments, kind + scope


def _decide(case: _Case, agent: str, treatment: Treatment, decided_by: str, dropped: tuple[Reason, str] | None) -> Decision:
    """R8-R11 for one agent, in order; the first that stops it names the reason."""
    if treatment.when == OFF:
        reason = Reason.RULE_OFF if decided_by.startswith("rule:") else Reason.OFF
        return Decision(agent, Verdict.SUPPRESSED, reason, decided_by)
    if dropped is not None:
        return Decision(agent, Verdict.SUPPRESSED, dropped[0], dropped[1])
    if (silence := _untold(case, agent)) is not None:
        return Decision(agent, Verdict.SUPPRESSED, silence, "jobs")
    stopped = _channel(case, agent, decided_by)
    if stopped is not None:
        return stopped
    when = _wished(case, treatment.when, decided_by, agent)
    verdict, reason, due_at, schedule = _timing(case, agent, when)
    if agent not in case.profile.reachable and verdict is not Verdict.SUPPRESSED:
        # Last, though R8 comes before R9: a missing address is worth telling only where something would have gone there.
        return Decision(agent, Verdict.SKIPPED, Reason.NO_VERIFIED_ADDRESS, decided_by, address=treatment.address)
    form = treatment.form_in(is_digest=verdict in _IN_DIGEST)
    return Decision(agent, verdict, reason, decided_by, due_at, schedule, treatment.address, form)


def _untold(case: _Case, agent: str) -> Reason | None:
    """Why a step of a job is not told by an agent for which she, a token of hers or the site has wishes on jobs; None where it is told."""
    wish, usual = case.profile.wants.jobs.get(agent), case.site.jobs.get(agent)
    fact = fact_of(case.message) if wish is not None or usual is not None or is_progress(case.message) else None
    if fact is None:
        return None
    if fact.step in (Step.DONE, Step.FAILED) and "follow" in case.because:
        return None  # she wants to be told of the end of this one, whatever is usual
    fact = replace(fact, is_edited=agent in case.site.editing)
    reason = news(fact, over(wish or NewsWish(), usual or NewsWish()), NewsDefaults())
    return None if reason is Reason.CHOSEN else reason


def _channel(case: _Case, agent: str, decided_by: str) -> Decision | None:
    """R8: what came only through a group respects what she accepts from it; paused agents are still."""
    profile = case.profile
    if case.is_group_only and agent != "web":
        accepted = _accepted(case, agent)
        if not accepted:
            return Decision(agent, Verdict.SUPPRESSED, Reason.GROUP_NOT_ACCEPTED, decided_by)
        if all(agent in case.standing.group_agents.get(group, ()) for group in accepted):
            return Decision(agent, Verdict.SUPPRESSED, Reason.GROUP_ADDRESS, f"group:{accepted[0]}")
    if agent in profile.wants.paused:
        return Decision(agent, Verdict.SUPPRESSED, Reason.PAUSED, decided_by)
    return None


def _accepted(case: _Case, agent: str) -> list[str]:
    """The groups through which the message came and from which she takes it by this agent."""
    accepts = case.profile.wants.accepts
    groups = (reason[6:] for reason in case.because)
    return [group for group in groups if group not in accepts or agent in accepts[group]]


def _wished(case: _Case, when: str, decided_by: str, agent: str) -> str:
    """The poster's wish counts only where nobody but the site has spoken (gap G-5: the person wins)."""
    wish = case.message.wish
    if wish is None or agent in case.site.pull or not decided_by.startswith("site:"):
        return when
    if wish is Wish.NOW:
        return NOW
    return case.site.digest_schedule if when == NOW and case.site.digest_schedule in case.site.schedules else when


def _timing(case: _Case, agent: str, when: str) -> tuple[Verdict, Reason, datetime | None, str]:
    """R9-R11: hold, quiet hours, digest slot, all as of when the message may go; then the poster's not_before."""
    wants, start, zone = case.profile.wants, _start(case), case.profile.zone
    held = _hold(case, agent)
    if held is not None:
        return held
    schedule = _schedule(case, when)
    if schedule is not None:
        return Verdict.DIGEST, Reason.SCHEDULE, next_slot(schedule, start, zone), schedule.name
    if wants.quiet is not None and agent in case.site.interruptive and case.message.severity < Severity.URGENT:
        end = ends_at(wants.quiet, start, zone)
        if end is not None:
            return Verdict.DEFERRED, Reason.QUIET_HOURS, end, ""
    if start > case.now:
        return Verdict.DEFERRED, Reason.NOT_BEFORE, start, ""
    return Verdict.NOW, Reason.CHOSEN, None, ""


def _schedule(case: _Case, when: str) -> Schedule | None:
    """Hers, else the site's; where the operator has since removed it, the site's usual digest rather than everything at once."""
    if when == NOW:
        return None
    site = case.site
    return case.profile.wants.schedules.get(when) or site.schedules.get(when) or site.schedules.get(site.digest_schedule)


def _start(case: _Case) -> datetime:
    """When it may go at the earliest."""
    not_before = case.message.not_before
    return case.now if not_before is None else max(case.now, not_before)


def _hold(case: _Case, agent: str) -> tuple[Verdict, Reason, datetime | None, str] | None:
    """R9: the nearest type scope speaks; keep = web and feeds stay, mail waits for the end, chat never replays."""
    hold, start = case.profile.wants.hold, _start(case)
    if hold is None or start >= hold.until or (hold.since is not None and start < hold.since):
        return None
    if case.message.severity >= hold.pass_from:
        return None
    policy = _nearest(hold.policy, case.scopes)
    if policy is HoldPolicy.PASS:
        return None
    if policy is HoldPolicy.DROP:
        return Verdict.SUPPRESSED, Reason.HOLD_DROPPED, None, ""
    if agent in case.site.pull:
        return None
    if agent in case.site.interruptive:
        return Verdict.SUPPRESSED, Reason.HOLD_SILENT, None, ""
    return Verdict.HELD, Reason.HOLD_KEPT, hold.until.astimezone(UTC), "hold"


def _nearest(policy: Mapping[str, HoldPolicy], scopes: Iterable[str]) -> HoldPolicy:
    for scope in (*scopes, ANY_TYPE):
        if scope in policy:
            return policy[scope]
    return HoldPolicy.KEEP
