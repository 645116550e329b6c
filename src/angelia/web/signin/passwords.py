"""Passwords: argon2id (RFC 9106), in a few threads of their own, so that a flood of sign-ins does not hold up the loop."""

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from angelia.model.errors import InvalidInput

SHORTEST, LONGEST = 10, 512
_hasher = PasswordHasher()
# Two at once: each takes 64 MB and some 50 ms of a core.
_threads = ThreadPoolExecutor(2, thread_name_prefix="passwords")


def _of_nobody(hasher: PasswordHasher) -> str:
    """A hash that no password has: as much work to try, and none at the start of the hub."""
    return f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}${'A' * 22}${'A' * 43}"


_NOBODY = _of_nobody(_hasher)


def _fit(password: str) -> str:
    """The same password typed on another keyboard is the same (NIST SP 800-63B, 5.1.1.2: NFKC)."""
    return unicodedata.normalize("NFKC", password)


def checked(password: str) -> str:
    """A new password that is long enough, and no longer than we want to hash."""
    if not SHORTEST <= len(password) <= LONGEST or "\x00" in password:
        raise InvalidInput(f"a password has {SHORTEST} to {LONGEST} characters", "password")
    return _fit(password)


async def hashed(password: str) -> str:
    """What the store keeps."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _hasher.hash, checked(password))


async def fits(password: str, password_hash: str | None) -> bool:
    """Is it hers? Takes as long for one who has none, so that nobody learns who is here."""
    if len(password) > LONGEST:
        return False
    return await asyncio.get_running_loop().run_in_executor(_threads, _verified, _fit(password), password_hash)


def _verified(password: str, password_hash: str | None) -> bool:
    try:
        _hasher.verify(password_hash or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None
