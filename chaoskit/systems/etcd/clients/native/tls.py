"""TLS as a filter between bytes and bytes, so that the connection keeps its one way of reading and writing."""

from __future__ import annotations

import ssl

from gevent.ssl import SSLContext

from chaoskit.systems.etcd.clients.native.settings import Tls

_PIECE = 1 << 16


class TlsPipe:
    """The client's end. All errors are ssl.SSLError, an OSError."""

    def __init__(self, tls: Tls, host: str) -> None:
        context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if tls.ca:
            context.load_verify_locations(tls.ca)
        else:
            context.load_default_certs()
        context.set_alpn_protocols(["h2"])
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_hostname=tls.server_name or host)

    def shake(self, answer: bytes) -> tuple[bytes, bool]:
        """One step of the handshake: what to send, and whether it is complete. Begins with an empty answer."""
        self._in.write(answer)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return self._out.read(), False
        if self._object.selected_alpn_protocol() != "h2":
            raise ssl.SSLError("the server does not speak HTTP/2")
        return self._out.read(), True

    def decrypt(self, chunk: bytes) -> bytes:
        """All that can be read by now; b"" when it is not a whole record."""
        self._in.write(chunk)
        pieces = []
        try:
            while piece := self._object.read(_PIECE):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # the server closes; so does the socket in a moment
            pass
        return b"".join(pieces)

    def encrypt(self, data: bytes) -> bytes:
        """Also sends what TLS itself has to say."""
        if data:
            self._object.write(data)
        return self._out.read()
