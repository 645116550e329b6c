"""Verification of addresses: the letter with a code, and the signed link beside it, so that one click proves the address as typing does; and
codes the other way round, which a person hands over at the other end.
"""

import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256

from angelia.agent import Letter
from angelia.model.delivery import Delivery, State
from angelia.model.message import HOUSE, Message
from angelia.model.person import Address, Person
from angelia.model.signed import sign, unsign

PLACE = "/addresses/verify"
LINK_CODE_LIVES = timedelta(minutes=10)
MOST_ADDRESSES = 50
"""What one person may have: else a list of strangers could be mailed a code each."""


def new_link_code() -> str:
    """A code that nobody guesses: 80 bits in letters and digits that any medium carries."""
    return secrets.token_hex(10)


def kept_link_code(secret: bytes, agent: str, code: str) -> str:
    """The code as the store keeps it."""
    return hmac.new(secret, f"link\0{agent}\0{code}".encode("utf-8", "replace"), sha256).hexdigest()


def verification_link(base_url: str, secret: bytes, address_id: int, code: str) -> str:
    """Asks on GET, acts on POST. It lives as long as its code: ten minutes, one use."""
    return f"{base_url}{PLACE}?token={sign(secret, 'verify', [address_id, code])}"


def code_letter(title: str, person: Person, address: Address, code: str, link: str, new_id: Callable[[], int], at: datetime) -> Letter:
    """What tells her the code; it belongs to no message that is kept."""
    text = (
        f"Your code for {title} is {code}. It works for ten minutes.\n\n"
        f"Type it in where you asked for it, or open this link: {link}\n\nIf you did not ask for it, do nothing."
    )
    message = Message(
        message_id=new_id(),
        source=HOUSE,
        type=f"{HOUSE}.address.code",
        received_at=at,
        occurred_at=at,
        subject=f"{code} is your code",
        body=text,
    )
    delivery = Delivery(
        delivery_id=new_id(),
        person_id=person.person_id,
        agent=address.agent,
        address_id=address.address_id,
        state=State.SENDING,
        due_at=at,
        form="full",
    )
    return Letter(delivery=delivery, person=person, address=address, message=message)


def read_verification(secret: bytes, token: str) -> tuple[int, str] | None:
    """Address id and code, or None if the link is not ours."""
    match unsign(secret, "verify", token):
        case [int(address_id), str(code)]:
            return address_id, code
    return None
