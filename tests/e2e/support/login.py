"""Signing in at /auth/login, with a cookie or with a token."""


def body(person, token=False):
    login = {"username": person.user, "password": person.password}
    if token:
        login["token"] = True
    return login


def origin(web, tls=False):
    return {"Origin": web.tls_url if tls else web.url}


def with_cookie(stack, web, person):
    """A client whose requests carry the session cookie and the page's Origin, as a browser's do."""
    client = stack.client(web, origin(web))
    response = client.post("/auth/login", body(person))
    assert response.status == 200, f"login: {response.status} {response.body!r}"
    (name, (value, _)), = response.cookies().items()
    stack.run.register_secret(value)
    client.headers["Cookie"] = f"{name}={value}"
    return client


def with_token(stack, web, person):
    """A client that goes on with the Bearer token that the login returned."""
    client = stack.client(web)
    response = client.post("/auth/login", body(person, token=True))
    assert response.status == 200, f"login: {response.status} {response.body!r}"
    client.headers["Authorization"] = "Bearer " + stack.run.register_secret(response.json["token"])
    return client
