"""Email/query and SearchSnippet/get over messages that are known to the letter, in two mailboxes of each server."""

import pytest

from support.imap_server import ok

HTML = ("Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        "Das Café am Markt öffnet\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
        "<p>Das <b>Café</b> am Markt öffnet</p>\r\n--b--\r\n")
PDF = ("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nThe quarterly invoice & its copy are attached.\r\n"
       "--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n"
       "Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--b--\r\n")
# Name: mailbox, subject as in the header, more header fields, body, flags, day of March 2024.
MESSAGES = {
    "invoice": ("Query", "Invoice for March", "", PDF, r"(\Seen)", 1),
    "answer": ("Query", "Re: Invoice for March", "References: <invoice@q.example>\r\n", "\r\nPaid, thanks.\r\n",
               r"(\Seen \Flagged)", 2),
    "cafe": ("Query", "=?utf-8?q?Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?=", "", HTML, "()", 3),
    "plain": ("Query", "Lunch", "Cc: Carla <carla@q.example>\r\n", "\r\nOn the market place, as always.\r\n", "()", 4),
    "gone": ("Query", "Invoice that was deleted", "", "\r\ninvoice\r\n", r"(\Deleted \Flagged)", 5),
    "filed": ("QueryFiled", "Re: Invoice for March", "References: <invoice@q.example> <answer@q.example>\r\n",
              "\r\nFiled with the quarterly ones.\r\n", r"(\Answered)", 6),
    "other": ("QueryFiled", "Minutes", "", "\r\nNothing of interest.\r\n", r"(\Seen)", 7),
}


def raw(name):
    _, subject, fields, body, _, day = MESSAGES[name]
    return (f"Date: {day} Mar 2024 09:00:00 +0000\r\nFrom: {name.title()} <{name}@q.example>\r\n"
            f"To: Me <me@q.example>\r\nSubject: {subject}\r\nMessage-ID: <{name}@q.example>\r\n"
            f"MIME-Version: 1.0\r\n{fields}{body}").encode()


@pytest.fixture(scope="module")
def stack(each_stack):
    return each_stack


@pytest.fixture(scope="module")
def reader(stack):
    person = stack.person("query", messages=20)
    with stack.server.signed_in(person.user) as imap:
        for path in ("Query", "QueryFiled"):
            ok(imap.create(stack.server.mailbox_name(path)))
        for name, (path, _, _, _, flags, day) in MESSAGES.items():
            ok(imap.append(stack.server.mailbox_name(path), flags, f'"{day:02}-Mar-2024 10:00:00 +0000"', raw(name)))
    return person


@pytest.fixture
def client(web, reader):
    return reader.client(web)


class Search:
    """Queries over the two mailboxes, answered by names."""

    def __init__(self, client):
        self.client = client
        boxes = client.mailboxes()
        self.boxes = [boxes["Query"]["id"], boxes["QueryFiled"]["id"]]
        self.both = {"operator": "OR", "conditions": [{"inMailbox": box} for box in self.boxes]}
        ids = client.call("Email/query", filter=self.both)["ids"]
        listed = client.call("Email/get", ids=ids, properties=["messageId", "hasAttachment"])["list"]
        self.names = {email["id"]: email["messageId"][0].partition("@")[0] for email in listed}
        self.ids = {name: email for email, name in self.names.items()}
        self.attached = {self.names[email["id"]] for email in listed if email["hasAttachment"]}

    def query(self, *conditions, **arguments):
        condition = {"operator": "AND", "conditions": [self.both, *conditions]}
        return self.client.call("Email/query", filter=condition, **arguments)

    def __call__(self, *conditions, **arguments):
        return [self.names[email] for email in self.query(*conditions, **arguments)["ids"]]


@pytest.fixture
def search(client):
    return Search(client)


def test_newest_first_over_both(search):
    assert search() == ["other", "filed", "plain", "cafe", "answer", "invoice"]
    assert search({"inMailbox": search.boxes[1]}) == ["other", "filed"]
    assert search({"inMailboxOtherThan": [search.boxes[1]]}) == ["plain", "cafe", "answer", "invoice"]


def test_no_mailbox_means_all(client, search, reader):
    ids = client.call("Email/query", limit=1000)["ids"]
    assert len(ids) == len(set(ids)) == len(search.names) + sum(map(len, reader.manifest["folders"].values()))
    assert set(search.names) <= set(ids)


def test_attachments(search):
    assert search.attached == {"invoice"}
    assert search({"hasAttachment": True}) == ["invoice"]
    assert search({"hasAttachment": False}) == ["other", "filed", "plain", "cafe", "answer"]


def test_threads_span_mailboxes(search):
    assert search({"someInThreadHaveKeyword": "$flagged"}) == ["filed", "answer", "invoice"]
    assert search({"noneInThreadHaveKeyword": "$answered"}) == ["other", "plain", "cafe"]
    assert search({"allInThreadHaveKeyword": "$seen"}) == ["other"]
    assert search({"operator": "NOT", "conditions": [{"someInThreadHaveKeyword": "$seen"}]}) == ["plain", "cafe"]
    newest = {"property": "receivedAt", "isAscending": False}
    assert search(sort=[{"property": "someInThreadHaveKeyword", "keyword": "$flagged", "isAscending": False}, newest]
                  ) == ["filed", "answer", "invoice", "other", "plain", "cafe"]
    assert search(sort=[{"property": "allInThreadHaveKeyword", "keyword": "$seen"}, newest]
                  ) == ["filed", "plain", "cafe", "answer", "invoice", "other"]


def test_collapsed_threads_and_windows(search):
    assert search(collapseThreads=True) == ["other", "filed", "plain", "cafe"]
    assert search(collapseThreads=True, sort=[{"property": "receivedAt"}]) == ["invoice", "cafe", "plain", "other"]
    answer = search.query(collapseThreads=True, position=-3, limit=2, calculateTotal=True)
    assert [search.names[email] for email in answer["ids"]] == ["filed", "plain"]
    assert (answer["position"], answer["total"]) == (1, 4)
    assert search(anchor=search.ids["plain"], anchorOffset=-1, limit=2, collapseThreads=True) == ["filed", "plain"]
    assert search(anchor=search.ids["plain"], anchorOffset=-9, limit=1) == ["other"]
    assert search(position=99) == []
    error = search.client.call_error("Email/query", filter=search.both, collapseThreads=True,
                                     anchor=search.ids["invoice"])
    assert error["type"] == "anchorNotFound"


def test_text_as_people_type_it(search):
    assert search({"text": "quarterly"}) == ["filed", "invoice"]
    assert search({"text": "INVOICE march"}) == ["filed", "answer", "invoice"]
    assert search({"text": "invoice carla"}) == []
    assert search({"subject": "\"for march\""}) == ["filed", "answer", "invoice"]
    assert search({"subject": "\"march for\""}) == []
    assert search({"body": "quart*"}) == ["filed", "invoice"]
    assert search({"subject": "Grüße köln"}) == ["cafe"]
    assert search({"body": "Café öffnet"}) == ["cafe"]
    assert search({"from": "plain"}) == ["plain"]
    assert search({"to": "me@q.example"}) == search()
    assert search({"cc": "carla"}) == ["plain"]
    assert search({"bcc": "carla"}) == []
    assert search({"header": ["References"]}) == ["filed", "answer"]
    assert search({"header": ["References", "answer@q"]}) == ["filed"]
    assert search({"operator": "OR", "conditions": [{"subject": "lunch"}, {"operator": "AND", "conditions": [
        {"text": "invoice"}, {"operator": "NOT", "conditions": [{"hasKeyword": "$seen"}]}]}]}) == ["filed", "plain"]


def snippets(search, condition, *names):
    answer = search.client.call("SearchSnippet/get", filter=condition, emailIds=[search.ids[n] for n in names])
    assert answer["notFound"] is None
    return {search.names[s["emailId"]]: (s["subject"], s["preview"]) for s in answer["list"]}


def test_snippets(search):
    found = snippets(search, {"text": "invoice"}, "invoice", "answer", "plain")
    assert found == {
        "invoice": ("<mark>Invoice</mark> for March",
                    "The quarterly <mark>invoice</mark> &amp; its copy are attached."),
        "answer": ("Re: <mark>Invoice</mark> for March", None),
        "plain": (None, None)}
    assert snippets(search, {"operator": "AND", "conditions": [{"subject": "koln"}, {"body": "cafe \"am markt\""}]},
                    "cafe") == {"cafe": ("Grüße aus <mark>Köln</mark>",
                                         "Das <mark>Café</mark> <mark>am Markt</mark> öffnet")}
    answer = search.client.call("SearchSnippet/get", filter={"text": "x"}, emailIds=["nonsense"])
    assert (answer["list"], answer["notFound"]) == ([], ["nonsense"])


def test_snippets_fetch_a_body_once(stack, search):
    in_one_mailbox = [name for name in search.ids if MESSAGES[name][0] == "Query"]
    snippets(search, {"body": "quarterly"}, *in_one_mailbox)
    with stack.imap.counting() as counted:
        snippets(search, {"body": "invoice"}, *in_one_mailbox)
    assert counted["UID FETCH"] + counted["FETCH"] == 0, counted


def test_snippets_of_a_search_in_one_request(client, search):
    account = client.account_id
    condition = {"operator": "AND", "conditions": [search.both, {"text": "paid"}]}
    answers = client.calls([
        ["Email/query", {"accountId": account, "filter": condition}, "q"],
        ["SearchSnippet/get", {"accountId": account, "filter": condition,
                               "#emailIds": {"resultOf": "q", "name": "Email/query", "path": "/ids"}}, "s"]])
    assert [s["preview"] for s in answers[1][1]["list"]] == ["<mark>Paid</mark>, thanks."]


def test_mailbox_deleted_underneath(stack, web, person):
    with stack.server.signed_in(person.user) as imap:
        ok(imap.create(stack.server.mailbox_name("Short")))
        ok(imap.append(stack.server.mailbox_name("Short"), None, None, raw("plain")))
    client = person.client(web)
    short = client.mailboxes()["Short"]["id"]
    assert len(client.call("Email/query", filter={"inMailbox": short})["ids"]) == 1
    client.call("Email/query", filter={"inMailbox": client.mailbox("inbox")["id"]}, limit=1)
    with stack.server.signed_in(person.user) as imap:
        ok(imap.delete(stack.server.mailbox_name("Short")))
    answer = client.call("Email/query", filter={"inMailbox": short}, calculateTotal=True)
    assert (answer["ids"], answer["total"]) == ([], 0)
