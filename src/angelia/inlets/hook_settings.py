"""Settings of the webhooks that the hub takes: a table `[inlets.hook.<name>]` for each system that calls it in its own form."""

from dataclasses import dataclass

from angelia.model.errors import BadSettings
from angelia.model.setting import say


@dataclass(frozen=True, slots=True)
class HookSettings:
    """One address, `/api/v1/hooks/<name>`, and what comes of what is posted there."""

    mapping: str = say("", "alertmanager, github, gitlab, or a .toml file")
    source: str = say("", "source of messages whose request is known by the secret; empty means the name of this table")
    secret: str = say("", "what the sender signs with (X-Hub-Signature-256) or names (X-Gitlab-Token); empty means that it has the token of a source")

    def checked(self, name: str) -> "HookSettings":
        """BadSettings for what can't work."""
        place = f"inlets.hook.{name}"
        if not self.mapping:
            raise BadSettings(f"{place}.mapping says how what is posted becomes messages: alertmanager, github, gitlab, or a .toml file")
        if self.source.startswith(("person:", "angelia")):
            raise BadSettings(f"{place}.source is another than ours")
        if self.secret and len(self.secret) < 16:
            raise BadSettings(f"{place}.secret has at least 16 characters: whoever guesses it posts what he likes")
        return self
