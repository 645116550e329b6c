"""What errors say, in the reader's language. The API speaks English; a page looks up the English text in its catalogue, where it is known."""

import re
from functools import lru_cache

from babel.support import NullTranslations, Translations

N_ = str
"""Marks a text for the catalogues."""
TEXTS = (
    N_("a condition has 1 to %(most)s values"),
    N_("a condition has one operator: oneof, not, contains or regexp"),
    N_("a day is one of %(choices)s"),
    N_("a feed filters by %(choices)s"),
    N_("a group reads nothing: its members do"),
    N_("a group's name is a word of letters, digits, '.', '_' or '-'"),
    N_("a hold needs its end: until = a time with its zone"),
    N_("a message type is dotted words of letters, digits, '_', ':' or '-', at most %(most)s characters"),
    N_("a name stands twice"),
    N_("a password has at least %(least)s characters"),
    N_("a password has %(least)s to %(most)s characters"),
    N_("a person needs a login"),
    N_("a query must not hold the character NUL"),
    N_("a regular expression has at most 1,000 characters"),
    N_("a schedule has every, at and on, not %(names)s"),
    N_("a schedule of every %(every)s has no days: leave 'on' out"),
    N_("a schedule's name is a short word other than off and now"),
    N_("a source's name is a printable text of at most 128 characters, other than ours"),
    N_("a template names at least one value in braces, or every message would have the same key"),
    N_("a template's key is <type or *>/<agent>/<form>/<language>/<part>"),
    N_("a text holds half a character (a lone surrogate)"),
    N_("a text holds what the database can't keep (a lone surrogate, NUL)"),
    N_("a time lies between 1970 and 2200"),
    N_("a token can't give more than the one that makes it"),
    N_("a whole number in ASCII digits"),
    N_("an id looks like %(prefix)s_0123456789abc"),
    N_("an object has at most 255 characters"),
    N_("an object is a text of 1 to 255 characters"),
    N_("an operator will find it in the log"),
    N_("at most 24 times and 31 days"),
    N_("at most %(most)s rules"),
    N_("at most %(most)s scopes"),
    N_("at most %(most)s follows"),
    N_("by is type, source, object, thread, severity, reason or tag:<name>"),
    N_("choose at least one thing that the token may do"),
    N_("choose how long the token lives"),
    N_("days of a month are 1 to 31"),
    N_("delivered is yes, no or empty"),
    N_("each rule needs an id of its own"),
    N_("every is one of %(choices)s"),
    N_("form is one of %(choices)s"),
    N_("here people sign in at a provider, not with a password of the hub's own"),
    N_("in braces stands one of %(choices)s, params.<name> or tags.<name>"),
    N_("me is whoever asks; nobody can be called so"),
    N_("must be a list"),
    N_("must be a list of texts"),
    N_("must be a table (an object with named entries)"),
    N_("must be a text of at most 1,024 characters, without NUL and half characters"),
    N_("must be a time such as 2026-03-20T08:00:00+01:00"),
    N_("a length in seconds, at most a year"),
    N_("must be a whole number from %(low)s to %(high)s"),
    N_("must be an IANA time zone such as Europe/Berlin"),
    N_("must be an object with named entries"),
    N_("must be one of %(choices)s"),
    N_("must be true or false"),
    N_("name an object, such as KDE/okular"),
    N_("names an agent (mail), or an agent and an address of hers (mail:alice@example.org)"),
    N_("needs its zone, as in 2026-03-20T08:00:00+01:00"),
    N_("no message is named there: its id looks like msg_0123456789abc, and stands in its address"),
    N_("no message of this type has come yet: a preview needs one"),
    N_("nobody has more than %(most)s addresses; delete one first"),
    N_("nobody has the login %(login)s"),
    N_("nobody here is called %(names)s; a group is written group:<name>"),
    N_("not a regular expression that RE2 can run (no back-references, no look-around)"),
    N_("not a time zone such as Europe/Berlin"),
    N_("nothing is sent to this address, so there is nothing to pause"),
    N_("on holds mon..sun for a week, and days 1 to 31 for a month"),
    N_("only an administrator may vouch for an address"),
    N_('quiet hours are two local times, ["22:00", "07:00"]'),
    N_("quiet hours need at least one day"),
    N_("quiet hours need two different times; to silence whole days pause the agent"),
    N_("rules are a list, first match first"),
    N_("say at least one value, or empty the name"),
    N_("say for at least one way what shall happen"),
    N_("say until when you are away"),
    N_("say what these values are of: a parameter, a tag, or a field of the message"),
    N_("schedule %(name)s never fires"),
    N_("severity is one of %(choices)s"),
    N_("something else was changed since: this can't be taken back any more"),
    N_("state is some of %(choices)s"),
    N_("state is unread, read, archived or all"),
    N_("the alias %(alias)s belongs to the type %(type)s"),
    N_("the database does not answer; send again in a few seconds"),
    N_("the database holds this already"),
    N_("the entry of this cursor is gone: begin again with the first page"),
    N_("the hub can't store anything right now; send again in a few seconds"),
    N_("the hub can't store anything: its disk is full or failing; an operator must act"),
    N_("the hub is stopping; send again in a few seconds"),
    N_("the login %(login)s is taken"),
    N_("the order is a list of the ids of your rules"),
    N_("the order names each of your rules once; they have changed meanwhile, so look again"),
    N_("the preferences are at version %(now)s, not %(then)s: read them again"),
    N_("the site's document is at version %(now)s, not %(then)s: read it again"),
    N_("the store is closed; send again in a few seconds"),
    N_("the two new passwords are not the same"),
    N_("the two passwords are not the same"),
    N_("there is no agent of that name that needs an address"),
    N_("there is no person behind these credentials"),
    N_("there is no such address"),
    N_("there is no such agent"),
    N_("there is no such breaker"),
    N_("there is no such feed"),
    N_("there is no such file"),
    N_("there is no such group"),
    N_("there is no such identity"),
    N_("there is no such message"),
    N_("there is no such page"),
    N_("there is no such person"),
    N_("there is no such preset"),
    N_("there is no such rule"),
    N_("there is no such schedule of hers"),
    N_("there is no such session"),
    N_("there is no such source"),
    N_("there is no such token"),
    N_("there is no such topic"),
    N_("there is no such type"),
    N_("there is no such version of this template"),
    N_("there is no such way to sign in"),
    N_("there is nothing of that name"),
    N_("there is one condition for each name; put its values into one row"),
    N_("these messages make no digest"),
    N_("these preferences are being changed by somebody else; try again"),
    N_("this address gets nothing now: verify or resume it first"),
    N_("this address is not verified: ask for a code"),
    N_("this can't be done with this message"),
    N_("this can't be taken back any more: something else was changed after it, or it is undone already"),
    N_("this change did not come from a page of this hub; open the page and try again"),
    N_("this code is wrong, too old, or was tried too often; look again, or ask for another"),
    N_("this file is no text in UTF-8"),
    N_("this file is too large for preferences"),
    N_("this hub has no such agent"),
    N_("this is for administrators"),
    N_("this is more than a request may hold"),
    N_("this is nested too deep"),
    N_("this is nested too deeply"),
    N_("this is no address for %(agent)s"),
    N_("this is no number"),
    N_("this is no rule"),
    N_("this is no way to mark a message"),
    N_("this is no way to mark messages"),
    N_("this is no whole number"),
    N_("this is not TOML: %(error)s"),
    N_("this is not a date and time such as 2026-03-20T08:00"),
    N_("this is not the old password"),
    N_("this is the only way to sign in: have a password set, or sign in with another provider, first"),
    N_("this link belongs to nobody any more"),
    N_("this link is not good any more: ask your operator for a new one"),
    N_("this link is not one of ours, or was changed on its way; copy it as a whole from the message"),
    N_("this time is over; say one that comes"),
    N_("this token may not read"),
    N_("this type stands in two rows"),
    N_("this %(agent)s address is there already"),
    N_("three codes went to this address today; try again tomorrow"),
    N_("too many tries; wait a few minutes"),
    N_("too much is waiting to be stored; send again in a few seconds"),
    N_("unknown key; known are %(choices)s"),
    N_("you sign in through your organisation; the password is changed there"),
    N_("your browser does not say from which page this comes; use a token and the API instead"),
    N_("%(name)s is a list"),
    N_("%(name)s is still used by a preference or a rule; change those first"),
    N_("%(text)s is not a time of day such as 08:00"),
    N_("%(text)s is not a time of day such as 07:30"),
    N_("%(when)s is neither off, now nor a known schedule; known: %(choices)s"),
    N_("another rule can't be read, so nothing is saved: %(fault)s"),
    N_("Field required"),
    N_("Extra inputs are not permitted"),
    N_("Value error, %(text)s"),
    N_("String should have at most %(most)s characters"),
    N_("String should have at most %(most)s character"),
    N_("String should have at least %(least)s characters"),
    N_("String should have at least %(least)s character"),
    N_("String should match pattern %(pattern)s"),
    N_("Input should be less than or equal to %(most)s"),
    N_("Input should be greater than or equal to %(least)s"),
    N_("Input should be greater than %(least)s"),
    N_("Input should be a valid integer, unable to parse string as an integer"),
    N_("Input should be a valid number, unable to parse string as a number"),
    N_("Input should be %(choices)s"),
    N_("The request can't be read"),
    N_("Credentials are needed"),
    N_("Not allowed"),
    N_("Not found"),
    N_("Method not allowed"),
    N_("Conflict"),
    N_("The version has moved on"),
    N_("Too large"),
    N_("Media type not supported"),
    N_("The input can't be used"),
    N_("A precondition is needed"),
    N_("Too many requests"),
    N_("Something is wrong on our side"),
    N_("Not available now"),
    N_("Error"),
)
"""As the errors say it, with names for what they fill in; a test compares it with the errors that there are."""
_PLACE = re.compile(r"%\((\w+)\)s")
_FIELD = re.compile(r"[^\s:]{1,200}: ")
_SPOKEN_AGAIN = frozenset({"text", "fault"})
"""Places that hold an error of their own."""


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Texts with places, those that say most themselves first: of two that fit it is the one that is meant."""
    found = [text for text in TEXTS if _PLACE.search(text)]
    found.sort(key=lambda text: -len(_PLACE.sub("", text)))
    return [(re.compile(_PLACE.sub(lambda place: f"(?P<{place[1]}>.+?)", _escaped(text)), re.DOTALL), text) for text in found]


def _escaped(text: str) -> str:
    """Everything but the places means itself."""
    parts = _PLACE.split(text)
    return "".join(f"%({part})s" if number % 2 else re.escape(part) for number, part in enumerate(parts))


def known(text: str) -> tuple[str, dict[str, str]] | None:
    """The text as it stands in the catalogues, and what fills its places; None for one that is not among them."""
    if text in TEXTS:
        return text, {}
    for pattern, known_text in _patterns():
        found = pattern.fullmatch(text)
        if found:
            return known_text, found.groupdict()
    return None


def said(text: str, translations: Translations | NullTranslations) -> str:
    """An error in the language of the catalogue, also one with its field before it (`do.mail: ...`); what is not known there stays as it is."""
    found = known(text)
    if found is not None:
        values = {name: said(value, translations) if name in _SPOKEN_AGAIN else value for name, value in found[1].items()}
        spoken: str = translations.ugettext(found[0])
        return spoken % values if values else spoken
    field = _FIELD.match(text)
    return field[0] + said(text[field.end() :], translations) if field else text
