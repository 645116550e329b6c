"""The API of a hub that runs, over the network or through the operator's door in the data folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from angelia.cli.outcome import Answer, Failure, Unreachable
from angelia.model.errors import AngeliaError
from angelia.settings import Settings, load


def over_http(url: str, token: str, method: str, path: str, arguments: Mapping[str, Any]) -> Answer:
    """Over the network, with the token if there is one."""
    headers = dict(arguments.get("headers", {}))
    if not (token.isascii() and token.isprintable()):
        raise Failure("the token in ANGELIA_TOKEN, or in the file ANGELIA_TOKEN_FILE, is no token: not one line of letters, digits and signs", 2)
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        answer = httpx2.request(method, url.rstrip("/") + path, timeout=30, **(dict(arguments) | {"headers": headers}))
    except httpx2.InvalidURL as error:
        raise Failure(f"{url!r} is no URL of a hub: {error}", 2) from None
    except httpx2.UnsupportedProtocol:
        raise Failure(f"{url!r} is no URL of a hub: it begins with http:// or https://", 2) from None
    except httpx2.LocalProtocolError:
        raise Failure("this is no request that HTTP could carry", 2) from None  # its words may repeat what is secret
    except httpx2.HTTPError as error:
        raise Unreachable(f"the hub at {url} does not answer: {error}") from None
    return answer.status_code, answer.headers, answer.content


def settings_of(config: str, overrides: Mapping[str, Any]) -> Settings:
    """Of the hub that a command is for; Failure where they can't be used."""
    try:
        return load(config, overrides=overrides)
    except AngeliaError as error:
        raise Failure(str(error)) from None


def through_door(door: Path, method: str, path: str, arguments: Mapping[str, Any]) -> Answer | None:
    """As its operator; None where there is no door, or nobody behind it any more: then nothing was done."""
    if not door.is_socket():
        return None
    try:
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(door)), base_url="http://localhost", timeout=60) as client:
            answer = client.request(method, path, **arguments)
    except httpx2.ConnectError:
        return None
    except httpx2.HTTPError as error:
        raise Unreachable(f"the hub that runs on this data folder does not answer: {error}") from None
    if answer.status_code == 503:
        raise Unreachable(answer.json().get("detail", "the hub can't do this right now"))
    return answer.status_code, answer.headers, answer.content
