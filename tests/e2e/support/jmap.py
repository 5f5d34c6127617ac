"""A small JMAP client over http.client: HTTP as it is, with the session resource and method calls on top."""

import base64
import http.client
import json
import ssl
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

CORE = "urn:ietf:params:jmap:core"
MAIL = "urn:ietf:params:jmap:mail"
TIMEOUT_S = 60.0


@dataclass
class Response:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name, default=""):
        return self.headers.get(name, default)

    def cookies(self):
        """{name: (value, {attribute in lower case: value})} of all Set-Cookie headers."""
        found = {}
        for line in self.headers.get_all("Set-Cookie") or []:
            first, *attributes = [piece.strip() for piece in line.split(";")]
            name, _, value = first.partition("=")
            found[name] = (value, {a.partition("=")[0].lower(): a.partition("=")[2] for a in attributes})
        return found


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def bearer(token):
    return f"Bearer {token}"


class Client:
    """One HTTP connection to one web server; not for several threads at once. headers go with every request."""

    def __init__(self, url, headers=None, ca=None):
        self.url = url
        self.headers = dict(headers or {})
        self._split = urlsplit(url)
        self._ca = ca
        self._connection = None
        self._session = None

    def _connect(self):
        if self._split.scheme == "https":
            context = ssl.create_default_context(cafile=self._ca)
            return http.client.HTTPSConnection(self._split.hostname, self._split.port, timeout=TIMEOUT_S,
                                               context=context)
        return http.client.HTTPConnection(self._split.hostname, self._split.port, timeout=TIMEOUT_S)

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def request(self, method, path, body=None, headers=None):
        """Sends one request; path may be an absolute URL of this server. A closed idle connection is renewed."""
        if path.startswith(self.url):
            path = path[len(self.url):]
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers = {"Content-Type": "application/json", **(headers or {})}
        merged = {**self.headers, **(headers or {})}
        merged = {name: value for name, value in merged.items() if value is not None}
        fresh = self._connection is None
        while True:
            if self._connection is None:
                self._connection = self._connect()
                fresh = True
            try:
                self._connection.request(method, path, body=body, headers=merged)
                answer = self._connection.getresponse()
                response = Response(answer.status, answer.headers, answer.read())
                if answer.will_close:
                    self.close()
                return response
            except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError):
                self.close()
                if fresh:
                    raise

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, path, body, headers=None):
        return self.request("POST", path, body=body, headers=headers)

    # --- JMAP

    @property
    def session(self):
        """The session resource, fetched once."""
        if self._session is None:
            response = self.request("GET", "/jmap/session")
            assert response.status == 200, f"session: {response.status} {response.body[:500]!r}"
            self._session = response.json
        return self._session

    @property
    def account_id(self):
        return self.session["primaryAccounts"][MAIL]

    def api(self, calls, using=(CORE, MAIL)):
        """The HTTP response to a JMAP request of these method calls."""
        return self.post(self.session["apiUrl"], {"using": list(using), "methodCalls": calls})

    def calls(self, calls, using=(CORE, MAIL)):
        """The methodResponses of a request that must succeed as a request."""
        response = self.api(calls, using)
        assert response.status == 200, f"api: {response.status} {response.body[:1000]!r}"
        return response.json["methodResponses"]

    def call(self, name, **arguments):
        """The arguments of the one response to one method call; fails on a method-level error."""
        arguments.setdefault("accountId", self.account_id)
        (answered, result, _), = self.calls([[name, arguments, "c0"]])
        assert answered == name, f"{name}: {answered} {result}"
        return result

    def call_error(self, name, **arguments):
        """The error object of one method call that must fail."""
        arguments.setdefault("accountId", self.account_id)
        (answered, result, _), = self.calls([[name, arguments, "c0"]])
        assert answered == "error", f"{name} did not fail: {answered} {result}"
        return result

    def mailboxes(self):
        """{full path: Mailbox}, with the path's levels joined by '/'."""
        listed = {box["id"]: box for box in self.call("Mailbox/get", ids=None)["list"]}

        def path(box):
            parent = listed.get(box["parentId"])
            return (path(parent) + "/" if parent else "") + box["name"]

        return {path(box): box for box in listed.values()}

    def mailbox(self, role):
        return next(box for box in self.mailboxes().values() if box["role"] == role)

    def newest(self, mailbox_id, properties, limit=20, position=0):
        """(query response, get response) of a list page in one request, by a result reference."""
        account = self.account_id
        answers = self.calls([
            ["Email/query", {"accountId": account, "filter": {"inMailbox": mailbox_id}, "position": position,
                             "sort": [{"property": "receivedAt", "isAscending": False}], "limit": limit,
                             "calculateTotal": True}, "q"],
            ["Email/get", {"accountId": account, "properties": list(properties),
                           "#ids": {"resultOf": "q", "name": "Email/query", "path": "/ids"}}, "g"]])
        assert [answer[0] for answer in answers] == ["Email/query", "Email/get"], answers
        return answers[0][1], answers[1][1]

    def upload(self, content, media_type="application/octet-stream", account=None):
        """The HTTP response to an upload."""
        url = self.session["uploadUrl"].replace("{accountId}", account or self.account_id)
        return self.post(url, content, {"Content-Type": media_type})

    def blob(self, content, media_type="application/octet-stream"):
        """The blob id of an upload that must succeed."""
        response = self.upload(content, media_type)
        assert response.status == 201, f"upload: {response.status} {response.body[:500]!r}"
        return response.json["blobId"]

    def download(self, blob_id, name="blob", media_type="application/octet-stream", **headers):
        url = self.session["downloadUrl"]
        for variable, value in (("accountId", self.account_id), ("blobId", blob_id), ("name", name),
                                ("type", media_type)):
            url = url.replace("{" + variable + "}", quote(value, safe=""))
        return self.request("GET", url, headers=headers)
