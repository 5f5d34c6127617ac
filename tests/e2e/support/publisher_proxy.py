"""Between the broker and nginx's publisher: what is asked there, and what happens where that is away, or hangs."""

import contextlib
import os
import re
import socket
import threading
import time

HEAD = re.compile(rb"(GET|POST|DELETE) \S*/([^/ ]+) HTTP")


class PublisherProxy:
    """Stands before nginx's publisher socket, passes requests on, and can be away or hang."""

    def __init__(self, path, target):
        self.path, self.target = path, target
        self.mode, self.requests = "pass", 0
        self.said = []  # (method, channel) of each request
        self.told = []  # (channel, request) of each POST
        self.held = set()  # methods whose requests wait
        self.held_text = None  # and those with this in them
        self._listen()

    def _listen(self):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        os.chmod(self.path, 0o666)
        self._socket.listen(64)
        threading.Thread(target=self._accept, args=(self._socket,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(self.target)
            while data := near.recv(65536):
                self.requests += 1
                if head := HEAD.match(data):
                    self.said.append((head[1].decode(), head[2].decode()))
                    if head[1] == b"POST":
                        self.told.append((head[2].decode(), data))
                while (self.mode == "hang" or head and head[1].decode() in self.held
                       or self.held_text is not None and self.held_text in data):
                    time.sleep(0.02)
                if self.mode == "away":
                    return
                far.sendall(data)
                near.sendall(far.recv(65536))
        except OSError:
            pass
        finally:
            near.close()
            far.close()

    def close(self):
        self._socket.close()
        if os.path.exists(self.path):
            os.unlink(self.path)


@contextlib.contextmanager
def between_publisher(stack):
    path = f"{stack.postern.runtime_dir}/nchan/publish.sock"
    own = f"{stack.postern.runtime_dir}/nchan/nginx.sock"
    with open(f"{stack.nginx.base}/postern-nchan-publisher.conf", encoding="utf-8") as file:
        before = file.read()
    stack.nginx.stop()
    if os.path.exists(path):
        os.unlink(path)
    stack.nginx.write("postern-nchan-publisher.conf", before.replace(f"unix:{path}", f"unix:{own}"))
    proxy = PublisherProxy(path, own)
    stack.nginx.start()
    try:
        yield proxy
    finally:
        proxy.mode = "pass"
        proxy.held.clear()
        proxy.held_text = None
        stack.nginx.stop()
        proxy.close()
        for left in (path, own):
            if os.path.exists(left):
                os.unlink(left)
        stack.nginx.write("postern-nchan-publisher.conf", before)
        stack.nginx.start()
