"""VacationResponse against Dovecot with Pigeonhole: what is set is answered, by the server itself, when mail is
delivered; the person's own scripts stay as they are and go on running.
"""

import email

import pytest

from support import jmap
from support.dovecot_sieve import SieveDovecot
from support.jmap import CORE, MAIL
from support.stack import Stack
from conftest import running

VACATION = "urn:ietf:params:jmap:vacationresponse"
USING = (CORE, MAIL, VACATION)
OWN = 'require ["fileinto", "mailbox"];\r\nfileinto :create "Filed";\r\n'
OURS = "postern-vacation"


class WithoutInclude(SieveDovecot):
    settings = "  sieve_extensions = -include"


class WithDefault(SieveDovecot):
    """Whoever has no active script gets the administrator's, under a name."""
    settings = "  sieve_default = file:{base}/default.sieve\n  sieve_default_name = house"

    def _write(self, pki):
        self.settings = self.settings.format(base=self.base)
        with open(f"{self.base}/default.sieve", "w", encoding="ascii") as out:
            out.write(OWN)
        super()._write(pki)


class WithoutVacation(SieveDovecot):
    settings = "  sieve_extensions = -vacation"

    def _write(self, pki):
        super()._write(pki)
        # What is told before anybody has signed in.
        with open(f"{self.base}/dovecot.conf", "a", encoding="ascii") as out:
            out.write("protocol sieve {\n  managesieve_sieve_capability = fileinto include\n}\n")


@pytest.fixture(scope="module")
def stack(run, pki):
    yield from running(Stack, run.part("sieve"), pki, {"auth": {"oauth": True}}, server=SieveDovecot)


@pytest.fixture
def person(stack, request):
    return stack.person(request.node.originalname.replace("test_", ""), messages=0)


@pytest.fixture
def client(web, person):
    return person.client(web)


@pytest.fixture
def scripts(stack, person):
    with stack.server.managesieve(person.user) as managesieve:
        yield managesieve


def get(client):
    (name, result, _), = client.calls([["VacationResponse/get", {"accountId": client.account_id}, "g"]], USING)
    assert name == "VacationResponse/get", result
    (vacation,) = result["list"]
    return vacation, result["state"]


def update(client, **arguments):
    """The /set response's arguments to an update of the singleton."""
    patch = arguments.pop("patch")
    (name, result, _), = client.calls([["VacationResponse/set", {
        "accountId": client.account_id, "update": {"singleton": patch}, **arguments}, "s"]], USING)
    assert name == "VacationResponse/set", result
    return result


def set_vacation(client, **patch):
    result = update(client, patch=patch)
    assert result["updated"] == {"singleton": None}, result
    return result


def mails_in(stack, person, mailbox):
    with stack.server.signed_in(person.user) as imap:
        status, count = imap.select(mailbox, readonly=True)
        return int(count[0]) if status == "OK" else 0


def test_capability_is_there(client):
    for where in (client.session["capabilities"], client.session["primaryAccounts"],
                  client.session["accounts"][client.account_id]["accountCapabilities"]):
        assert VACATION in where
    answer = client.api([["Core/echo", {}, "c"]], USING)
    assert answer.status == 200 and answer.json["sessionState"] == client.session["state"]


def test_answers_and_the_own_script_runs(stack, person, client, scripts):
    scripts.put("mine", OWN)
    scripts.activate("mine")
    before, state = get(client)
    assert before == {"id": "singleton", "isEnabled": False, "fromDate": None, "toDate": None, "subject": None,
                      "textBody": None, "htmlBody": None}
    wanted = {"isEnabled": True, "subject": "Fort – \"away\"", "textBody": "Zurück am Montag.\n.\n${hex:22} \\ \"end\"",
              "fromDate": "2020-01-01T00:00:00Z", "toDate": "2099-12-31T23:59:59Z"}
    changed = set_vacation(client, **wanted)
    assert changed["oldState"] == state != changed["newState"]
    after, state = get(client)
    assert after == {**before, **wanted} and state == changed["newState"]
    assert scripts.scripts() == ({"mine", OURS}, OURS)
    assert scripts.get("mine") == OWN

    stack.server.deliver(person.user, "friend@example.net", "Lunch?")
    (answer,) = stack.server.take_sent(1)
    assert "friend@example.net" in answer.splitlines()[0]
    assert "Zurück am Montag." in answer and "${hex:22} \\ \"end\"" in answer
    assert "Auto-Submitted: auto-replied" in answer
    assert mails_in(stack, person, "Filed") == 1 and mails_in(stack, person, "INBOX") == 0

    # Edited meanwhile, it runs as it is now.
    scripts.put("mine", "keep;\r\n")
    stack.server.deliver(person.user, "other@example.net", "Dinner?")
    stack.server.take_sent(1)
    assert mails_in(stack, person, "INBOX") == 1

    scripts.put("mine", OWN)
    set_vacation(client, isEnabled=False)
    assert scripts.scripts()[1] == "mine"
    stack.server.deliver(person.user, "third@example.net", "Tea?")
    stack.server.take_sent(0)
    assert mails_in(stack, person, "Filed") == 2
    off, _ = get(client)
    assert off == {**before, **wanted, "isEnabled": False}


def test_html_is_an_alternative(stack, person, client):
    set_vacation(client, isEnabled=True, textBody="Plain words", htmlBody="<p>Rich <b>words</b></p>")
    stack.server.deliver(person.user, "friend@example.net", "Hi")
    (answer,) = stack.server.take_sent(1)
    message = email.message_from_string(answer.split("\n", 1)[1])
    assert message.get_content_type() == "multipart/alternative", answer
    plain, html = message.get_payload()
    assert plain.get_payload(decode=True).decode() == "Plain words"
    assert html.get_content_type() == "text/html"
    assert html.get_payload(decode=True).decode() == "<p>Rich <b>words</b></p>"


@pytest.mark.parametrize("dates", [{"fromDate": "2099-01-01T00:00:00Z"}, {"toDate": "2020-01-01T00:00:00Z"}])
def test_nothing_is_sent_outside_the_dates(stack, person, client, dates):
    set_vacation(client, isEnabled=True, textBody="away", **dates)
    stack.server.deliver(person.user, "friend@example.net", "Hi")
    stack.server.take_sent(0)
    assert mails_in(stack, person, "INBOX") == 1


def test_a_text_of_its_own_where_none_is_given(stack, person, client):
    set_vacation(client, isEnabled=True)
    stack.server.deliver(person.user, "friend@example.net", "Hi there")
    (answer,) = stack.server.take_sent(1)
    assert "away at the moment" in answer and "Hi there" in answer


def test_others_change_the_active_script(stack, person, client, scripts):
    scripts.put("mine", OWN)
    scripts.activate("mine")
    _, state_off = get(client)
    state_on = set_vacation(client, isEnabled=True, textBody="away")["newState"]
    scripts.put("theirs", "keep;\r\n")
    scripts.activate("theirs")
    vacation, state = get(client)
    assert not vacation["isEnabled"] and vacation["textBody"] == "away"
    assert state not in (state_off, state_on)
    # Theirs is the one that goes on running now, and comes back.
    set_vacation(client, isEnabled=True)
    assert 'include :personal :optional "theirs"' in scripts.get(OURS)
    stack.server.deliver(person.user, "friend@example.net", "Hi")
    stack.server.take_sent(1)
    assert mails_in(stack, person, "INBOX") == 1
    scripts.delete("theirs")
    stack.server.deliver(person.user, "friend2@example.net", "Hi")
    stack.server.take_sent(1)
    assert mails_in(stack, person, "INBOX") == 2
    set_vacation(client, isEnabled=False)
    assert scripts.scripts() == ({"mine", OURS}, None)
    assert scripts.get("mine") == OWN


def test_a_script_that_is_not_ours_stays(client, scripts):
    for text in ("keep;\r\n", "# postern-vacation 1 0000\r\nkeep;\r\n"):
        scripts.put(OURS, text)
        assert not get(client)[0]["isEnabled"]
        refused = update(client, patch={"isEnabled": True})
        assert refused["notUpdated"]["singleton"]["type"] == "forbidden"
        assert scripts.get(OURS) == text
    scripts.delete(OURS)
    set_vacation(client, isEnabled=True, textBody="x")
    scripts.put(OURS, scripts.get(OURS).replace('"x"', '"y"'))
    assert update(client, patch={"isEnabled": False})["notUpdated"]["singleton"]["type"] == "forbidden"


def test_a_script_that_answers_itself_is_not_run_beside(client, scripts):
    scripts.put("mine", 'require "vacation";\r\nvacation "mine";\r\n')
    scripts.activate("mine")
    refused = update(client, patch={"isEnabled": True})["notUpdated"]["singleton"]
    assert refused["type"] == "forbidden" and '"mine"' in refused["description"]
    assert scripts.scripts() == ({"mine"}, "mine")


def test_errors_and_if_in_state(client):
    _, state = get(client)
    (name, error, _), = client.calls([["VacationResponse/set", {
        "accountId": client.account_id, "ifInState": "other", "update": {"singleton": {"isEnabled": True}}}, "s"]],
        USING)
    assert (name, error["type"]) == ("error", "stateMismatch")
    result = update(client, patch={"isEnabled": False}, ifInState=state, create={"a": {}}, destroy=["singleton"])
    assert result["notCreated"]["a"]["type"] == result["notDestroyed"]["singleton"]["type"] == "singleton"
    assert result["oldState"] == result["newState"] == state
    refused = update(client, patch={"textBody": "x" * (256 * 1024 + 1)})["notUpdated"]["singleton"]
    assert refused["type"] == "tooLarge"


def test_without_include_nothing_is_harmed(run, pki):
    for stack in running(Stack, run.part("noinclude"), pki, server=WithoutInclude, apache=False):
        person = stack.person("noinclude", messages=0)
        client = person.client(stack.nginx)
        with stack.server.managesieve(person.user) as scripts:
            scripts.put("mine", OWN)
            scripts.activate("mine")
            refused = update(client, patch={"isEnabled": True})["notUpdated"]["singleton"]
            assert refused["type"] == "forbidden" and '"mine"' in refused["description"]
            assert scripts.scripts() == ({"mine"}, "mine")
            scripts.activate("")
            set_vacation(client, isEnabled=True, textBody="away")
            set_vacation(client, isEnabled=False)
            assert scripts.scripts() == ({"mine", OURS}, None)


def test_the_administrators_default_goes_on_running(run, pki):
    for stack in running(Stack, run.part("default"), pki, server=WithDefault, apache=False):
        person = stack.person("default", messages=0)
        client = person.client(stack.nginx)
        with stack.server.managesieve(person.user) as scripts:
            assert scripts.scripts() == ({"house"}, "house")
            refused = update(client, patch={"isEnabled": True})["notUpdated"]["singleton"]
            assert refused["type"] == "forbidden" and '"house"' in refused["description"]
            assert scripts.scripts() == ({"house"}, "house")
            scripts.put("mine", OWN)
            scripts.activate("mine")
            set_vacation(client, isEnabled=True, textBody="away")


def test_with_an_oauth_token_over_starttls(stack, person, scripts):
    """The ManageSieve server gets the token that the person has signed in with."""
    client = stack.client(stack.nginx, {"Authorization": jmap.bearer(stack.dovecot.token(person.user))})
    set_vacation(client, isEnabled=True, textBody="by token")
    assert get(client)[0]["textBody"] == "by token"
    assert scripts.scripts()[1] == OURS


def test_a_server_that_nobody_vouches_for_is_none(run, pki):
    strange = {"sieve": {"ca_file": f"{pki.directory}/strange-ca.pem"}}
    for stack in running(Stack, run.part("strange-sieve"), pki, strange, server=SieveDovecot, apache=False):
        client = stack.person("strange", messages=0).client(stack.nginx)
        assert VACATION not in client.session["capabilities"]
        assert client.call_error("VacationResponse/get", ids=None)["type"] == "unknownMethod"


def test_absent_where_the_server_has_no_vacation(run, pki):
    for stack in running(Stack, run.part("novacation"), pki, server=WithoutVacation, apache=False):
        client = stack.person("novacation", messages=0).client(stack.nginx)
        assert VACATION not in client.session["capabilities"]
        answer = client.api([["VacationResponse/get", {"accountId": client.account_id}, "g"]], USING)
        assert answer.status == 400 and answer.json["type"].endswith(":unknownCapability")
        (_, error, _), = client.calls([["VacationResponse/get", {"accountId": client.account_id}, "g"]])
        assert error["type"] == "unknownMethod"
