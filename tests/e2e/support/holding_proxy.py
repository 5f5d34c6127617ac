"""A TLS proxy between browser and web server that passes an answer on once it has all of it, as filters do that look at
what comes: an event stream doesn't get through at all, or its head alone.
"""

import http.client
import http.server
import socket
import ssl
import threading

# Those of a connection, not of a message.
OWN_FIELDS = ("connection", "keep-alive", "transfer-encoding", "content-length")


class HoldingProxy:
    """held: a piece of the targets whose answers are held back; passes_head: their heads aren't."""

    def __init__(self, port, certificate, held="/jmap/events/", passes_head=False):
        self.upstream_port, self.held, self.passes_head = port, held, passes_head
        self.targets = []  # of all requests so far
        self._far = set()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def do_GET(self):
                proxy.serve(self)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def serve(self, near):
        self.targets.append(near.path)
        far = http.client.HTTPSConnection("127.0.0.1", self.upstream_port, context=ssl._create_unverified_context())
        try:
            body = near.rfile.read(int(near.headers.get("Content-Length", 0)))
            far.putrequest(near.command, near.path, skip_host=True, skip_accept_encoding=True)
            for name, value in near.headers.items():
                if name.lower() not in OWN_FIELDS:
                    far.putheader(name, value)
            far.putheader("Content-Length", str(len(body)))
            far.endheaders(body)
            self._far.add(far.sock)
            answer = far.getresponse()
            self.pass_on(near, answer)
        except (OSError, http.client.HTTPException):
            near.close_connection = True
        finally:
            far.close()

    def pass_on(self, near, answer):
        held = self.held in near.path
        fields = [(name, value) for name, value in answer.getheaders() if name.lower() not in OWN_FIELDS]
        if held and self.passes_head:
            self.say_head(near, answer.status, fields + [("Connection", "close")])
            near.close_connection = True
            near.wfile.write(answer.read())
            return
        if held or "Content-Length" in answer.headers or not near.path.startswith("/jmap/events/"):
            body = answer.read()
            self.say_head(near, answer.status, fields + [("Content-Length", str(len(body)))])
            near.wfile.write(body)
            return
        self.say_head(near, answer.status, fields + [("Connection", "close")])
        near.close_connection = True
        while data := answer.read1(65536):
            near.wfile.write(data)

    @staticmethod
    def say_head(near, status, fields):
        near.send_response_only(status)
        for name, value in fields:
            near.send_header(name, value)
        near.end_headers()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        for far in list(self._far):
            try:
                far.shutdown(socket.SHUT_RDWR)  # who waits for the rest of an answer is woken
            except OSError:
                pass
