"""Why a member cannot be reached, in one sentence: gRPC only says "failed to connect to all addresses".

Goes the way of a gRPC connection up to the server's first frame, because with TLS 1.3 a server that misses our
certificate says so after the handshake.
"""

from __future__ import annotations

import socket
import ssl

from chaoskit.access import Access
from chaoskit.errors import InfrastructureError

_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_SETTINGS = 4
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)  # OpenSSL's codes of X509_verify_cert_error_string
_EXPIRED, _NOT_YET, _WRONG_NAME, _WRONG_ADDRESS = 10, 9, 62, 64


def problem(endpoint: str, access: Access, timeout_s: float) -> str | None:
    """None when a gRPC server answers at `host:port`."""
    host, _, port = endpoint.rpartition(":")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout_s)
    except TimeoutError:
        return f"no answer within {timeout_s:g} s; is it the right address, and does a firewall let us through?"
    except OSError as error:
        return f"{(error.strerror or str(error)).lower()}; is it the right address, and does the member run?"
    with connection:
        return _tls(connection, endpoint, access) if access.tls else _plain(connection)


def _plain(connection: socket.socket) -> str | None:
    try:
        if _speaks_http2(connection):
            return None
    except OSError:
        pass
    return "it does not speak gRPC in plaintext; if it wants TLS write https://"


def _tls(connection: socket.socket, endpoint: str, access: Access) -> str | None:
    name = access.server_name(endpoint)
    try:
        context = access.context()
        context.set_alpn_protocols(["h2"])
        secure = context.wrap_socket(connection, server_hostname=name)
    except InfrastructureError as error:
        return str(error)
    except ssl.SSLCertVerificationError as error:
        return _distrusted(error, name, access)
    except OSError as error:
        hung_up = isinstance(error, ConnectionError | ssl.SSLEOFError)
        return "it hangs up on TLS; if it speaks plaintext write http://" if hung_up else _broken(error, access)
    with secure:
        return _after_handshake(secure, access)


def _after_handshake(secure: ssl.SSLSocket, access: Access) -> str | None:
    """What the server said before it hung up is lost when we were still sending."""
    try:
        return None if _speaks_http2(secure) else f"it hung up after the TLS handshake; most likely {_refused(access)}"
    except (ConnectionError, ssl.SSLEOFError):
        return f"it hung up after the TLS handshake; most likely {_refused(access)}"
    except OSError as error:
        return _broken(error, access)


def _speaks_http2(connection: socket.socket) -> bool:
    connection.sendall(_HELLO)
    head = connection.recv(9)
    return len(head) >= 4 and head[3] == _SETTINGS


def _distrusted(error: ssl.SSLCertVerificationError, name: str, access: Access) -> str:
    if error.verify_code in _UNKNOWN_AUTHORITY:
        whom = access.cacert or "the authorities that this machine trusts"
        return f"its certificate is not signed by {whom}: unknown CA; tls.cacert names the file of the right one"
    if error.verify_code in (_WRONG_NAME, _WRONG_ADDRESS):
        return f"its certificate is for another name than {name}; tls.server-name says which one to expect"
    if error.verify_code in (_EXPIRED, _NOT_YET):
        return f"its certificate is not valid today: {error.verify_message}"
    return f"its certificate is not accepted: {error.verify_message}"


def _broken(error: OSError, access: Access) -> str:
    reason = (getattr(error, "reason", "") or str(error)).upper().replace(" ", "_")
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
        return "it does not speak TLS; write http://"
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason or "HANDSHAKE_FAILURE" in reason:
        return _refused(access)
    return f"TLS failed: {reason.lower().replace('_', ' ')}"


def _refused(access: Access) -> str:
    if not access.cert:
        return "it asks for a client certificate and got none; give tls.cert and tls.key"
    return f"it does not accept the client certificate {access.cert}: it is signed by another authority, or expired"
