"""The link beside a verification code: it holds the code, signed, so that one click proves the address as typing it does."""

from angelia.model.signed import sign, unsign

PLACE = "/addresses/verify"


def verification_link(base_url: str, secret: bytes, address_id: int, code: str) -> str:
    """Asks on GET, acts on POST. It lives as long as its code: ten minutes, one use."""
    return f"{base_url}{PLACE}?token={sign(secret, 'verify', [address_id, code])}"


def read_verification(secret: bytes, token: str) -> tuple[int, str] | None:
    """Address id and code, or None if the link is not ours."""
    match unsign(secret, "verify", token):
        case [int(address_id), str(code)]:
            return address_id, code
    return None
