"""Push subscriptions (RFC 8620, 7.2): made, verified, told through a push service, and ended; and what they may not
point to.
"""

import itertools
import json
import time
from datetime import datetime, timedelta, timezone

import pytest

from conftest import running
from support import login
from support.imap_server import ok
from support.jmap import CORE, MAIL
from support.processes import wait_for
from support.push_service import Device, PushService, check_vapid
from support.stack import Stack

VAPID = "urn:ietf:params:jmap:webpush-vapid"
MESSAGE = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: pushed\r\n\r\nHello\r\n"
QUIET_S = 2.0
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def service(pki):
    push_service = PushService(pki)
    yield push_service
    push_service.close()


@pytest.fixture(scope="module")
def stack(run, pki):
    yield from running(Stack, run.part("subscription"), pki,
                       {"push": {"grace": "2s"},
                        "webpush": {"allow": ["127.0.0.0/8"], "ca_file": pki.ca, "interval": "100ms",
                                    "contact": "mailto:post@example.com"}})


@pytest.fixture
def client(stack, person):
    return login.with_token(stack, stack.nginx, person)


def subscription(client, name, **arguments):
    """The arguments of the response to one PushSubscription method, which has no accountId."""
    (answered, result, _), = client.calls([[name, arguments, "c"]])
    assert answered == name, (answered, result)
    return result


def create(client, url, **more):
    return subscription(client, "PushSubscription/set",
                        create={"k": {"deviceClientId": "device-1", "url": url, **more}})


def created(client, service, name, **more):
    answer = create(client, service.url(name), **more)
    assert answer["created"], answer
    return answer["created"]["k"]


def verified(client, service, device=None, **more):
    """(id, name at the service) of a subscription whose code has been shown."""
    name = f"device{next(_numbers)}"
    if device:
        more["keys"] = device.keys
    made = created(client, service, name, **more)
    code = service.wait_for(name, 1)[0].json(device)["verificationCode"]
    answer = subscription(client, "PushSubscription/set", update={made["id"]: {"verificationCode": code}})
    assert answer["updated"] == {made["id"]: None}, answer
    return made["id"], name


def deliver(stack, person, mailbox="INBOX"):
    with stack.server.signed_in(person.user) as imap:
        ok(imap.append(mailbox, None, None, MESSAGE))


def settled(service, name):
    """How many messages there are, once none has come for a while."""
    count = -1
    while count != (count := len(service.of(name))):
        time.sleep(QUIET_S)
    return count


def listed(client):
    return subscription(client, "PushSubscription/get", ids=None)["list"]


def test_capability(client):
    session = client.session
    key = session["capabilities"][VAPID]["applicationServerKey"]
    assert len(key) == 87 and VAPID not in session["primaryAccounts"]
    assert client.calls([["Core/echo", {}, "c"]], (CORE, MAIL, VAPID))[0][0] == "Core/echo"


def test_life_of_a_subscription(stack, person, client, service):
    device = Device()
    made = created(client, service, "life", keys=device.keys, types=["Email", "EmailDelivery", "Unheard"])
    assert made["expires"] is None and made["verificationCode"] is None and "types" not in made
    message, = service.wait_for("life", 1)
    assert message.headers["Content-Encoding"] == "aes128gcm" and message.headers["Content-Type"] == "application/json"
    assert int(message.headers["TTL"]) > 0
    key = client.session["capabilities"][VAPID]["applicationServerKey"]
    check_vapid(message.headers["Authorization"], service.origin, key, "mailto:post@example.com")
    pushed = message.json(device)
    assert (pushed["@type"], pushed["pushSubscriptionId"]) == ("PushVerification", made["id"])
    # Nothing more before the code has been shown.
    deliver(stack, person)
    entry, = listed(client)
    assert entry == {"id": made["id"], "deviceClientId": "device-1", "verificationCode": None, "expires": None,
                     "types": ["Email", "EmailDelivery", "Unheard"]}
    wrong = subscription(client, "PushSubscription/set", update={made["id"]: {"verificationCode": "guess"}})
    assert wrong["notUpdated"][made["id"]]["type"] == "invalidProperties"
    assert len(service.of("life")) == 1
    right = subscription(client, "PushSubscription/set",
                         update={made["id"]: {"verificationCode": pushed["verificationCode"]}})
    assert right["updated"] == {made["id"]: None}
    assert listed(client)[0]["verificationCode"] == pushed["verificationCode"]
    before = settled(service, "life")
    deliver(stack, person, "Archive")
    change = service.wait_for("life", before + 1)[-1]
    states = change.json(device)["changed"][client.account_id]
    assert set(states) == {"Email", "EmailDelivery"}
    assert change.headers["Urgency"] == "normal" and 0 < len(change.headers["Topic"]) <= 32
    check_vapid(change.headers["Authorization"], service.origin, key)
    gone = subscription(client, "PushSubscription/set", destroy=[made["id"]])
    assert gone["destroyed"] == [made["id"]]
    assert subscription(client, "PushSubscription/get", ids=[made["id"]]) == {"list": [], "notFound": [made["id"]]}
    before = settled(service, "life")
    deliver(stack, person)
    assert settled(service, "life") == before


def test_types_that_are_narrowed_while_something_waits(stack, person, client, service):
    """What waits is told of the new ones alone."""
    made, name = verified(client, service)
    before = settled(service, name)
    service.answers[f"/send/{name}"] = [(503, {"Retry-After": "6"})]
    deliver(stack, person)
    refused = service.wait_for(name, before + 1)[before].json()
    assert "Email" in refused["changed"][client.account_id]
    answer = subscription(client, "PushSubscription/set", update={made: {"types": ["Mailbox"]}})
    assert answer["updated"] == {made: None}
    service.wait_for(name, before + 2)
    settled(service, name)
    for message in service.of(name)[before + 1:]:
        assert set(message.json()["changed"][client.account_id]) == {"Mailbox"}


def test_without_keys_and_own_changes(stack, person, client, service):
    _, name = verified(client, service)
    page = client.newest(client.mailbox("inbox")["id"], ("id",), limit=1)[0]["ids"]
    other = login.with_token(stack, stack.nginx, person)
    before = settled(service, name)
    answer = client.call("Email/set", update={page[0]: {"keywords/$flagged": True}})
    assert page[0] in answer["updated"]
    assert settled(service, name) == before
    other.call("Email/set", update={page[0]: {"keywords/$flagged": None}})
    change = service.wait_for(name, before + 1)[-1]
    assert "Email" in change.json()["changed"][client.account_id] and change.headers["Urgency"] == "low"
    assert "Content-Encoding" not in change.headers


def test_others_do_not_see_it(stack, person, client, service):
    made, _ = verified(client, service)
    for other in (login.with_token(stack, stack.nginx, person), person.client(stack.nginx),
                  login.with_token(stack, stack.nginx, stack.person("stranger"))):
        assert listed(other) == []
        answer = subscription(other, "PushSubscription/set", update={made: {"types": None}}, destroy=[made])
        assert answer["notDestroyed"][made]["type"] == "notFound"
        assert answer["notUpdated"][made]["type"] == "notFound"
    assert [entry["id"] for entry in listed(client)] == [made]


def test_ends_with_its_session(stack, person, client, service):
    _, name = verified(client, service)
    other = login.with_token(stack, stack.nginx, person)
    _, theirs = verified(other, service)
    before, others = settled(service, name), settled(service, theirs)
    assert client.post("/auth/logout", {}).status == 200
    deliver(stack, person)
    service.wait_for(theirs, others + 1)
    assert settled(service, name) == before


def test_expiry_of_basic_is_clamped(stack, person, service):
    client = person.client(stack.nginx)
    made = created(client, service, "basic")
    now = datetime.now(timezone.utc)

    def expires(text):
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)

    assert timedelta(days=13) < expires(made["expires"]) - now < timedelta(days=15)
    later = (now + timedelta(days=300)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = subscription(client, "PushSubscription/set", update={made["id"]: {"expires": later}})
    assert expires(answer["updated"][made["id"]]["expires"]) - now < timedelta(days=15)
    sooner = (now + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = subscription(client, "PushSubscription/set", update={made["id"]: {"expires": sooner}})
    assert answer["updated"][made["id"]] is None and listed(client)[0]["expires"] == sooner
    assert [entry["id"] for entry in listed(person.client(stack.nginx))] == [made["id"]]


def test_expires(stack, person, client, service):
    made, name = verified(client, service)
    soon = (datetime.now(timezone.utc) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    subscription(client, "PushSubscription/set", update={made: {"expires": soon}})
    wait_for(lambda: listed(client) == [], "its end", 10)
    before = settled(service, name)
    deliver(stack, person)
    assert settled(service, name) == before


@pytest.mark.parametrize("status", (404, 410))
def test_a_service_that_does_not_know_it(stack, person, client, service, status):
    _, name = verified(client, service)
    before = settled(service, name)
    service.answers[f"/send/{name}"] = [(status, {})]
    deliver(stack, person)
    service.wait_for(name, before + 1)
    wait_for(lambda: listed(client) == [], "its end", 10)


def test_too_many_requests(stack, person, client, service):
    _, name = verified(client, service)
    before = settled(service, name)
    service.answers[f"/send/{name}"] = [(429, {"Retry-After": "6"})]
    deliver(stack, person)
    service.wait_for(name, before + 1)
    began = time.monotonic()
    deliver(stack, person, "Archive")
    again = service.wait_for(name, before + 2)[-1]
    assert time.monotonic() - began > 4
    # The newest states, of all that was to be told.
    account = client.account_id
    assert set(again.json()["changed"][account]) >= {"Email", "Mailbox", "EmailDelivery"}
    assert again.json()["changed"][account]["Email"] == client.call("Email/get", ids=[])["state"]


def test_broken_service_is_tried_again(stack, person, client, service):
    _, name = verified(client, service)
    before = settled(service, name)
    service.answers[f"/send/{name}"] = [(503, {}), (500, {})]
    deliver(stack, person)
    messages = service.wait_for(name, before + 3, 40)
    assert "Email" in messages[-1].json()["changed"][client.account_id]


def test_what_is_refused(stack, client, service):
    url = service.url("refused")
    for bad, wanted in (({"url": url.replace("https", "http")}, "url"), ({"url": "https://user@127.0.0.1/"}, "url"),
                        ({"url": "https://10.0.0.1/"}, "url"), ({"url": "https://[::1]/"}, "url"),
                        ({"url": "https://localhost/"}, "url"), ({"url": None}, "url"),
                        ({"verificationCode": "x"}, "verificationCode"), ({"expires": "soon"}, "expires"),
                        ({"expires": "2001-01-01T00:00:00Z"}, "expires"), ({"types": ["a,b"]}, "types"),
                        ({"keys": {"p256dh": "x", "auth": "y"}}, "keys"), ({"types": "Email"}, "types"),
                        ({"id": "x"}, "id"),
                        ({"deviceClientId": ""}, "deviceClientId"), ({"other": 1}, "other")):
        answer = create(client, **{"url": url, **bad})
        error = answer["notCreated"]["k"]
        assert (error["type"], error["properties"]) == ("invalidProperties", [wanted]), (bad, error)
    for arguments in ({"accountId": client.account_id}, {"ifInState": "x"}):
        (answered, error, _), = client.calls([["PushSubscription/set", arguments, "c"]])
        assert (answered, error["type"]) == ("error", "invalidArguments")
    for name in ("url", "keys"):
        (answered, error, _), = client.calls([["PushSubscription/get", {"ids": None, "properties": [name]}, "c"]])
        assert (answered, error["type"]) == ("error", "forbidden")
    made, _ = verified(client, service)
    for patch, kind in (({"url": url}, "invalidProperties"), ({"keys": None}, "invalidProperties"),
                        ({"deviceClientId": "x"}, "invalidProperties"), ({"types/0": "Email"}, "invalidPatch")):
        answer = subscription(client, "PushSubscription/set", update={made: patch})
        assert answer["notUpdated"][made]["type"] == kind, patch
    assert subscription(client, "PushSubscription/set",
                        update={made: {"deviceClientId": "device-1", "types": ["Email"]}})["updated"] == {made: None}
    assert service.of("refused") == []


def test_an_account_has_so_many(stack, person, service):
    client = person.client(stack.nginx)
    many = {f"k{i}": {"deviceClientId": f"d{i}", "url": service.url(f"many{i}")} for i in range(21)}
    answer = subscription(client, "PushSubscription/set", create=many)
    assert len(answer["created"]) == 20
    assert [error["type"] for error in answer["notCreated"].values()] == ["overQuota"]
    for _ in range(2):  # sixty an hour
        answer = subscription(client, "PushSubscription/set", destroy=[entry["id"] for entry in listed(client)])
        answer = subscription(client, "PushSubscription/set", create=dict(list(many.items())[:20]))
        assert len(answer["created"]) == 20
    subscription(client, "PushSubscription/set", destroy=[entry["id"] for entry in listed(client)])
    answer = subscription(client, "PushSubscription/set", create=dict(list(many.items())[:1]))
    assert [error["type"] for error in answer["notCreated"].values()] == ["rateLimit"]


def test_broker_killed(stack, person, client, service):
    session_made, session_name = verified(client, service)
    basic = person.client(stack.nginx)
    basic_made, basic_name = verified(basic, service)
    key = client.session["capabilities"][VAPID]["applicationServerKey"]
    session_count, basic_count = settled(service, session_name), settled(service, basic_name)
    stack.postern.broker.kill()
    stack.postern.broker.start()
    deliver(stack, person)
    assert settled(service, session_name) == session_count
    # The next request makes the account available: what was missed is told, and what comes.
    assert [entry["id"] for entry in listed(client)] == [session_made]
    states = service.wait_for(session_name, session_count + 1)[session_count].json()["changed"][client.account_id]
    assert {"Email", "Mailbox", "EmailDelivery"} <= set(states)
    assert settled(service, basic_name) == basic_count
    assert [entry["id"] for entry in listed(basic)] == [basic_made]
    service.wait_for(basic_name, basic_count + 1)
    fresh = login.with_token(stack, stack.nginx, person)
    assert fresh.session["capabilities"][VAPID]["applicationServerKey"] == key


def test_names_that_point_inside(run, pki, service):
    """Where nothing is allowed, and a name (localhost, which the machine resolves) leads to loopback."""
    for strict in running(Stack, run.part("strict"), pki, {"webpush": {"ca_file": pki.ca}}, apache=False):
        person = strict.person("strict")
        client = login.with_token(strict, strict.nginx, person)
        for host in ("2130706433", "0x7f.1", "127.1"):
            answer = create(client, f"https://{host}:{service.port}/send/inside")
            if answer["created"]:
                wait_for(lambda: listed(client) == [], f"the end of {host}", 20)
            else:
                assert answer["notCreated"]["k"]["type"] == "invalidProperties"
        assert service.of("inside") == []


def test_urls_are_not_logged(stack, person, client, service):
    name = stack.run.register_secret(f"capability{time.monotonic_ns()}")
    created(client, service, name)
    service.answers[f"/send/{name}2"] = [(500, {})]
    created(client, service, name + "2")
    service.wait_for(name, 1), service.wait_for(name + "2", 1)
    assert json.dumps(listed(client)).find(name) < 0
