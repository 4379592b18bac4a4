"""An HTTP client of the bare kind: it can leave in any state, and reads exactly what it is sent."""

import socket
import struct

PASSWORD = "Authorization: Basic d2ZvcmNlOnN1cGVy\r\n"  # wforce:super
TIMEOUT = 30


class Unexpected(Exception):
    """An answer that should not have come, or one that did not."""


def request(method, path, body=b"", fields="", version="1.1", password=PASSWORD):
    """A request, ready to be sent."""
    host = "Host: localhost\r\n" if version == "1.1" else ""
    head = f"{method} {path} HTTP/{version}\r\n{host}{password}{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Client:
    """A connection, inside TLS if there is a context for it."""

    def __init__(self, port, tls=None, host="127.0.0.1", source="127.0.0.1", timeout=TIMEOUT):
        self.socket = socket.create_connection((host, port), timeout, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""
        if tls:
            try:
                self.socket = tls.wrap_socket(self.socket)
            except BaseException:
                self.socket.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError(f"the connection was closed after {self.rest[:200]!r}")
        self.rest += part

    def reply(self):
        """Status and body of the next answer, which must have a Content-Length."""
        while (end := self.rest.find(b"\r\n\r\n") + 4) < 4:
            self.more()
        head = self.rest[:end]
        at = head.find(b"Content-Length: ")
        if not head.startswith(b"HTTP/1.") or at < 0:
            raise Unexpected(f"no answer of HTTP: {head[:200]!r}")
        whole = end + int(head[at + 16:head.index(b"\r", at)])
        while len(self.rest) < whole:
            self.more()
        status, body = int(head[9:12]), self.rest[end:whole]
        self.rest = self.rest[whole:]
        return status, body

    def ask(self, data):
        self.send(data)
        return self.reply()

    def is_closed(self):
        """Waits for the other side to close, which must send nothing more."""
        try:
            return not self.rest and not self.socket.recv(1)
        except ConnectionResetError:
            return True

    def reset(self):
        """Leaves without a farewell: the other side sees a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
