"""What the house itself says in letters, in each reader's language; a language is one more entry in each table."""

from collections.abc import Mapping
from functools import lru_cache

LANGUAGES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "to": "you are named as a recipient",
        "cc": "you are named in copy",
        "group": "you are in the group {value}",
        "role": "you are {value} of {object}",
        "rule": "your rule {value} matches",
        "follow": "you follow {object}",
        "why": "You get this because {reasons}.",
        "and": "and",
        "decided_rule": "Sent this way by your rule {value}.",
        "decided_preference": "Sent this way by your setting for {value}.",
        "decided_site": "Sent this way by the site's default for {value}.",
        "decided_unknown": "Sent this way by your setting for unknown types.",
        "decided_lock": "The operator always sends {value} this way.",
        "decided_schedule": "Sent by your schedule {value}.",
        "decided_fallback": "Sent this way because {value} could not reach you.",
        "decided_escalate": "Sent this way because nobody has answered it yet (step {value}).",
        "escalated": "{value} has not answered it",
        "everything": "everything",
        "unsubscribe": "Stop this",
        "open": "Open in Angelia",
        "acknowledge": "I take care of it",
        "seen": "I have seen it",
        "mute": "Mute this object",
        "object": "Object",
        "sender": "From",
        "time": "Time",
        "severity": "Severity",
        "type": "Type",
        "tags": "Tags",
        "details": "Details",
        "low": "low",
        "normal": "normal",
        "high": "high",
        "urgent": "urgent",
        "digest_hourly": "Hourly digest",
        "digest_daily": "Daily digest",
        "digest_weekly": "Weekly digest",
        "digest_monthly": "Monthly digest",
        "digest_overflow": "Too much for an hour",
        "digest_named": "Digest “{schedule}”",
        "digest_messages": "{messages} messages",
        "digest_lead": "{messages} messages, {since} to {until}",
        "digest_lead_one": "One message, {since}",
        "times": "{count} times, last {last}",
        "mended": "was broken, mended since",
        "more": "and {more} more",
        "acknowledged": "Noted, thank you.",
        "unknown_letter": "This is not open here any more.",
        "linked": "Linked: messages can reach you here from now on.",
        "code_is_over": "This link is over or was used. Make a new one on your page of addresses.",
        "how_to_link": "To get your messages here, open your page of addresses and make a link.",
    },
    "de": {
        "to": "du als Empfänger genannt bist",
        "cc": "du in Kopie genannt bist",
        "group": "du in der Gruppe {value} bist",
        "role": "du {value} von {object} bist",
        "rule": "deine Regel {value} passt",
        "follow": "du {object} folgst",
        "why": "Du bekommst dies, weil {reasons}.",
        "and": "und",
        "decided_rule": "So zugestellt nach deiner Regel {value}.",
        "decided_preference": "So zugestellt nach deiner Einstellung für {value}.",
        "decided_site": "So zugestellt nach der Voreinstellung für {value}.",
        "decided_unknown": "So zugestellt nach deiner Einstellung für unbekannte Typen.",
        "decided_lock": "Der Betreiber stellt {value} immer so zu.",
        "decided_schedule": "Zugestellt nach deinem Zeitplan {value}.",
        "decided_fallback": "So zugestellt, weil {value} dich nicht erreichen konnte.",
        "decided_escalate": "So zugestellt, weil noch niemand geantwortet hat (Schritt {value}).",
        "escalated": "{value} nicht geantwortet hat",
        "everything": "alles",
        "unsubscribe": "Nicht mehr schicken",
        "open": "In Angelia öffnen",
        "acknowledge": "Ich kümmere mich darum",
        "seen": "Ich habe es gesehen",
        "mute": "Dieses Objekt stummschalten",
        "object": "Objekt",
        "sender": "Von",
        "time": "Zeit",
        "severity": "Dringlichkeit",
        "type": "Typ",
        "tags": "Schlagwörter",
        "details": "Einzelheiten",
        "low": "niedrig",
        "normal": "normal",
        "high": "hoch",
        "urgent": "dringend",
        "digest_hourly": "Stündliche Sammelnachricht",
        "digest_daily": "Tägliche Sammelnachricht",
        "digest_weekly": "Wöchentliche Sammelnachricht",
        "digest_monthly": "Monatliche Sammelnachricht",
        "digest_overflow": "Zu viel für eine Stunde",
        "digest_named": "Sammelnachricht „{schedule}“",
        "digest_messages": "{messages} Nachrichten",
        "digest_lead": "{messages} Nachrichten, {since} bis {until}",
        "digest_lead_one": "Eine Nachricht, {since}",
        "times": "{count}-mal, zuletzt {last}",
        "mended": "war gestört, inzwischen behoben",
        "more": "und {more} weitere",
        "acknowledged": "Vermerkt, danke.",
        "unknown_letter": "Das ist hier nicht mehr offen.",
        "linked": "Verbunden: Nachrichten können dich ab jetzt hier erreichen.",
        "code_is_over": "Dieser Link ist abgelaufen oder verbraucht. Erzeuge auf deiner Seite der Adressen einen neuen.",
        "how_to_link": "Um deine Nachrichten hier zu bekommen, erzeuge auf deiner Seite der Adressen einen Link.",
    },
    "ru": {
        "to": "вы указаны получателем",
        "cc": "вы указаны в копии",
        "group": "вы состоите в группе {value}",
        "role": "ваша роль для {object}: {value}",
        "rule": "сработало ваше правило {value}",
        "follow": "вы следите за {object}",
        "why": "Вы получили это, потому что {reasons}.",
        "and": "и",
        "decided_rule": "Доставлено так по вашему правилу {value}.",
        "decided_preference": "Доставлено так по вашей настройке для {value}.",
        "decided_site": "Доставлено так по умолчанию сайта для {value}.",
        "decided_unknown": "Доставлено так по вашей настройке для неизвестных типов.",
        "decided_lock": "Оператор всегда доставляет {value} так.",
        "decided_schedule": "Доставлено по вашему расписанию {value}.",
        "decided_fallback": "Доставлено так, потому что {value} до вас не дошло.",
        "decided_escalate": "Доставлено так, потому что пока никто не ответил (шаг {value}).",
        "escalated": "{value} не отвечает",
        "everything": "всего",
        "unsubscribe": "Больше не присылать",
        "open": "Открыть в Angelia",
        "acknowledge": "Я займусь этим",
        "seen": "Я это видел(а)",
        "mute": "Заглушить этот объект",
        "object": "Объект",
        "sender": "От",
        "time": "Время",
        "severity": "Важность",
        "type": "Тип",
        "tags": "Метки",
        "details": "Подробности",
        "low": "низкая",
        "normal": "обычная",
        "high": "высокая",
        "urgent": "срочно",
        "digest_hourly": "Ежечасная сводка",
        "digest_daily": "Ежедневная сводка",
        "digest_weekly": "Еженедельная сводка",
        "digest_monthly": "Ежемесячная сводка",
        "digest_overflow": "Слишком много для одного часа",
        "digest_named": "Сводка «{schedule}»",
        "digest_messages": "сообщений: {messages}",
        "digest_lead": "Сообщений: {messages}, с {since} по {until}",
        "digest_lead_one": "Одно сообщение, {since}",
        "times": "{count} раз, последний {last}",
        "mended": "было нарушено, уже исправлено",
        "more": "и ещё {more}",
        "acknowledged": "Отмечено, спасибо.",
        "unknown_letter": "Здесь это больше не открыто.",
        "linked": "Связано: теперь сообщения могут приходить сюда.",
        "code_is_over": "Эта ссылка устарела или уже использована. Создайте новую на странице адресов.",
        "how_to_link": "Чтобы получать сообщения здесь, создайте ссылку на странице адресов.",
    },
}


def words(language: str) -> Mapping[str, str]:
    """The words of a language: `de-AT` falls back to `de`, what we don't speak to English."""
    return LANGUAGES.get(language) or LANGUAGES.get(language.partition("-")[0]) or LANGUAGES["en"]


@lru_cache(maxsize=2_000)
def reasons_text(because: tuple[str, ...], ref: str, language: str) -> str:
    """All reasons why somebody gets a message, as one sentence."""
    said = words(language)
    parts = []
    for reason in because:
        kind, _, value = reason.partition(":")
        if kind in said:
            parts.append(_filled(said[kind], value=value, object=ref))
    if not parts:
        return ""
    joined = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {said['and']} {parts[-1]}"
    return _filled(said["why"], reasons=joined)


@lru_cache(maxsize=500)
def decided_text(decided_by: str, language: str) -> str:
    """Which rule or scope chose this way, as a sentence; "" where there is nothing to say."""
    said = words(language)
    kind, _, value = decided_by.partition(":")
    text = said.get(f"decided_{kind}", "")
    return _filled(text, value=said["everything"] if value == "*" else value)


def _filled(text: str, **values: str) -> str:
    """Our own braces only: str.format would walk into what values hold (checklist S20)."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def filled(text: str, **values: object) -> str:
    """A phrase with its values."""
    return _filled(text, **{name: str(value) for name, value in values.items()})
