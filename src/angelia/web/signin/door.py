"""The page on which one signs in, and what it says when that went wrong."""

from fastapi import Request, Response

from angelia.web.access import context_of
from angelia.web.pages.kit import page
from angelia.web.signin.guard import local_place
from angelia.web.signin.providers import Provider


def door(
    request: Request, status: int = 200, *, next: str = "/", error: str = "", login: str = "", provider: Provider | None = None, goodbye: str = ""
) -> Response:
    """The form and the providers. `error` is a word that the template knows; `goodbye` is where one signs out at the provider, too."""
    house = context_of(request)
    return page(
        request, None, "sign-in.html", status, next=local_place(next), error=error, login=login[:128], provider=provider, goodbye=goodbye,
        providers=list(house.providers.values()), has_passwords=house.has_passwords,
    )  # fmt: skip
