"""Receivers of webhooks: a good one, and every kind of bad one."""

import socket
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Connections that the one that hangs keeps open.
HELD = 50


class Receivers:
    """They listen until the end of a `with` block. `ports` has their names."""

    def __init__(self):
        self.good, self.stack, self.ports = 0, ExitStack(), {}
        self.is_over = threading.Event()
        self.lock = threading.Lock()

    def __enter__(self):
        self.serve("good", 200)
        self.serve("error", 500)
        self.accept("hang", HELD)
        self.accept("close", 0)
        # It has the port, so that nobody else gets it, and does not listen.
        nobody = self.stack.enter_context(socket.socket())
        nobody.bind(("127.0.0.1", 0))
        self.ports["nobody"] = nobody.getsockname()[1]
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.stack.close()

    def serve(self, name, status):
        receivers = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                if status == 200:
                    with receivers.lock:
                        receivers.good += 1
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)
        self.ports[name] = server.server_address[1]

    def accept(self, name, held):
        """Takes connections and says nothing; keeps the latest `held` of them."""
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        listener.settimeout(0.5)
        self.ports[name] = listener.getsockname()[1]

        def run():
            kept = []
            while not self.is_over.is_set():
                try:
                    kept.append(listener.accept()[0])
                except TimeoutError:
                    pass
                except OSError:
                    break
                while len(kept) > held:
                    kept.pop(0).close()
            for client in kept:
                client.close()

        threading.Thread(target=run, daemon=True).start()
