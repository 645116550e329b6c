"""Settings of what the hub takes from exchanges: a table `[inlets.amqp.<name>]` for each queue."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from angelia.model.errors import BadSettings
from angelia.model.setting import say

LOOKS_LIKE = "amqp://user:password@host:5672/vhost or amqps://; a # in a password is written %23, a / %2F"


def is_broker_url(text: str) -> bool:
    """Is it a URL that a connection can be made from? What is special in a password ends up as a port that is none."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("amqp", "amqps") and parts.port != 0
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class AmqpInletSettings:
    """One queue, or one exchange of the hub's own, and what its events become."""

    exchange: str = say("", "exchange to take from")
    keys: str = say("#", "routing keys to bind, with commas; patterns on a topic exchange")
    url: str = say("", "another broker: amqp://user:password@host:5672/vhost; empty means that of broker.url, or the hub's own exchanges")
    queue: str = say("angelia.inlet.{name}", "its queue; empty means one that the server names, which keeps nothing while the hub is away")
    declare: bool = say(True, "make and bind the queue where it is missing; off where its owner does")
    mapping: str = say("", "amaretti, bonfire, fedora, obs, openqa, or a .toml file; empty means that bodies are messages or CloudEvents already")
    source: str = say("", "source that its messages come from; empty means the name of this table")
    transitions: bool = say(False, "are a testbed's transitions taken as if they were posted? What is none goes by the mapping, or is passed over")
    prefetch: int = say(100, "how many deliveries may be in hand at once")

    def checked(self, name: str) -> "AmqpInletSettings":
        """BadSettings for what can't work."""
        place = f"inlets.amqp.{name}"
        if not self.exchange:
            raise BadSettings(f"{place}.exchange names the exchange to take from")
        if not self.patterns:
            raise BadSettings(f"{place}.keys names at least one routing key; # takes all")
        if self.url and not is_broker_url(self.url):
            raise BadSettings(f"{place}.url is {LOOKS_LIKE}")
        if not 1 <= self.prefetch <= 10_000:
            raise BadSettings(f"{place}.prefetch is 1 to 10000")
        if self.source.startswith(("person:", "angelia")):
            raise BadSettings(f"{place}.source is another than ours")
        return self

    @property
    def patterns(self) -> tuple[str, ...]:
        """The keys, one by one."""
        return tuple(filter(None, (key.strip() for key in self.keys.split(","))))
