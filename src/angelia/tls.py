"""What every client of ours trusts: the machine's certificates or those of one file, from TLS 1.2 on (RFC 9325)."""

import ssl


class _Wrapped(ssl.SSLSocket):
    """Closed where the other side resets before it is wrapped: `wrap_socket` leaves it open then, and nobody else has it (Python 3.11)."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As ever; after a reset there is nothing to come."""
        try:
            return super().recv(buflen, flags)
        except ConnectionResetError:
            self.close()
            raise


def client_context(ca_file: str = "") -> ssl.SSLContext:
    """A new one, which checks certificates and names. OSError where there is no such file, or none with certificates."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _Wrapped
    return context
