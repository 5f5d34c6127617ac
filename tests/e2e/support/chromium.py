"""Headless Chromium, driven by the DevTools protocol over a pipe (NUL-terminated JSON on descriptors 3 and 4)."""

import itertools
import json
import os
import queue
import shutil
import subprocess
import threading
import time

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
WAIT_S = 30.0
NAVIGATIONS_MAX = 5


class Chromium:
    """One browser; pages share its cookies and channels, as tabs do."""

    def __init__(self, run, directory):
        self._numbers = itertools.count(1)
        self._answers, self._lock = {}, threading.Lock()
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        log = open(run.log_file("chromium.log"), "wb")
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}', CHROMIUM, "--headless=new",
             "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking",
             "--disable-renderer-backgrounding", "--disable-background-timer-throttling",
             "--disable-backgrounding-occluded-windows", "--ignore-certificate-errors", "--remote-debugging-pipe",
             f"--user-data-dir={directory}", "about:blank"],
            pass_fds=(to_browser, from_browser), stdout=log, stderr=log, env={**os.environ, "HOME": directory})
        os.close(to_browser)
        os.close(from_browser)
        log.close()
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self):
        rest = b""
        while data := os.read(self._read, 65536):
            *whole, rest = (rest + data).split(b"\0")
            for text in whole:
                message = json.loads(text)
                if "id" in message:
                    with self._lock:
                        waiting = self._answers.pop(message["id"], None)
                    if waiting is not None:
                        waiting.put(message)

    def call(self, method, session=None, **parameters):
        number = next(self._numbers)
        answer = queue.Queue()
        with self._lock:
            self._answers[number] = answer
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        result = answer.get(timeout=WAIT_S)
        assert "error" not in result, f"{method}: {result['error']}"
        return result["result"]

    def open(self, url):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        page = Page(self, target, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        page.go(url)
        return page

    def stop(self):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)


class Page:
    def __init__(self, browser, target, session):
        self.browser, self.target, self.session = browser, target, session

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def go(self, url):
        # A browser that has just started gives up now and then since "the network has changed".
        for _ in range(NAVIGATIONS_MAX):
            error = self.call("Page.navigate", url=url).get("errorText")
            if error is None:
                break
            time.sleep(0.5)
        assert error is None, f"{url}: {error}"
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, expression):
        """The value of a JavaScript expression, awaited."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, expression, timeout_s=WAIT_S):
        deadline = time.monotonic() + timeout_s
        while True:
            value = self.run(expression)
            if value:
                return value
            assert time.monotonic() < deadline, f"never true in the page: {expression}: {self.run('window.seen')}"
            time.sleep(0.05)

    def offline(self, on):
        self.call("Network.emulateNetworkConditions", offline=on, latency=0, downloadThroughput=-1,
                  uploadThroughput=-1)

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)
