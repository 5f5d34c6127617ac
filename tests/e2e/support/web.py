"""nginx and Apache for a test run, with the snippet files of deploy/ as they are installed.

Of all the files only postern-upstream.conf and postern-nchan-publisher.conf are changed on their way: the runtime
directory in the sockets' paths, as nginx knows no variables there. Each server listens on two free loopback ports, one
plain and one with TLS.
"""

import os
import shutil
import subprocess

from .processes import Process, accepts, free_port
from .templates import DEPLOY, render

class WebServer:
    """What nginx and Apache have in common; base is their configuration and state directory."""

    def __init__(self, run, name):
        self.run, self.name = run, name
        self.base = run.make_dir(name)
        for folder in ("html", "snippets", "fcgid"):
            run.make_dir(f"{name}/{folder}")
        self.port, self.tls_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.tls_url = f"https://127.0.0.1:{self.tls_port}"
        self.process = None

    def listens(self):
        return accepts(("127.0.0.1", self.port)) and accepts(("127.0.0.1", self.tls_port))

    def write(self, name, text):
        with open(os.path.join(self.base, name), "w", encoding="utf-8") as out:
            out.write(text)

    def values(self, pki):
        """What both servers' templates need."""
        certificate, key = (shutil.copy(path, self.base) for path in pki.localhost)
        return {"BASE": self.base, "PORT": self.port, "TLS_PORT": self.tls_port, "CERTIFICATE": certificate, "KEY": key,
                "ERROR_LOG": self.run.log_file(f"{self.name}-error.log"),
                "ACCESS_LOG": self.run.log_file(f"{self.name}-access.log")}

    def start(self):
        self.run.own(self.base)
        self.process.start()
        return self

    def stop(self):
        self.process.stop()

    def check(self):
        """Runs the server's own configuration check as the server's user; returns what it says."""
        drop = ["setpriv", f"--reuid={self.run.uid}", f"--regid={self.run.gid}", "--clear-groups"]
        command = (drop if os.getuid() == 0 else []) + self.process.command + self.check_arguments
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.base, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr


class Nginx(WebServer):
    check_arguments = ["-t"]

    def __init__(self, run, pki, runtime_dir, locations=None):
        """locations: what stands in the server block in the place of the snippets; there is no nchan then."""
        super().__init__(run, "nginx")
        for name in ("postern.conf", "postern-fastcgi.conf", "postern-internal.conf", "postern-websocket.conf",
                     "postern-nchan.conf"):
            shutil.copy(f"{DEPLOY}/nginx/{name}", f"{self.base}/snippets/{name}")
        os.makedirs(f"{runtime_dir}/nchan", exist_ok=True)
        run.own(f"{runtime_dir}/nchan")
        for name in ("postern-upstream.conf", "postern-nchan-publisher.conf"):
            with open(f"{DEPLOY}/nginx/{name}", encoding="utf-8") as file:
                self.write(name, file.read().replace("unix:/run/postern/", f"unix:{runtime_dir}/"))
        text = render("nginx.conf", self.values(pki))
        if locations is not None:
            snippets = "include snippets/postern.conf;\n        include snippets/postern-nchan.conf;\n"
            publisher = "include postern-nchan-publisher.conf;\n"
            assert snippets in text and publisher in text
            text = text.replace(snippets, locations).replace(publisher, "")
        self.write("nginx.conf", text)
        run.own(self.base)
        self.process = Process(run, "nginx", ["/usr/sbin/nginx", "-e", run.log_file("nginx-error.log"), "-c",
                                              f"{self.base}/nginx.conf", "-g", "daemon off;"], self.listens)


class Apache(WebServer):
    check_arguments = ["-t"]

    def __init__(self, run, pki, runtime_dir, worker, environment=None, defines=""):
        """defines: lines before each Include of the snippet."""
        super().__init__(run, "apache")
        for name in ("postern.conf", "postern-server.conf"):
            shutil.copy(f"{DEPLOY}/apache/{name}", f"{self.base}/{name}")
        self.write("environment.conf", "".join(
            f'FcgidInitialEnv {name} "{value}"\n' for name, value in (environment or {}).items() if value))
        text = render("apache.conf", {**self.values(pki), "WORKER": worker, "RUNTIME_DIR": runtime_dir,
                                      "BROKER_USER": run.user})
        self.write("apache.conf", text.replace("    Include postern.conf\n", f"{defines}    Include postern.conf\n"))
        run.own(self.base)
        self.process = Process(run, "apache", ["/usr/sbin/apache2", "-f", f"{self.base}/apache.conf", "-DFOREGROUND"],
                               self.listens, directory=self.base)
