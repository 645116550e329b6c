"""What every answer says to browsers, whoever gives it; and what one says of a rate."""

from starlette.responses import Response

from angelia.model.errors import Rate
from angelia.wire.problems import rate_headers

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; report-uri /csp-reports",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def say_rate(response: Response, rate: Rate) -> None:
    """What is left of it."""
    for name, value in rate_headers(rate):
        response.headers[name.decode()] = value.decode()
