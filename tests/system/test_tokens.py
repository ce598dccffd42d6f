"""JSON Web Tokens: which are believed, and which are not."""

import json
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from access import (
    b64,
    bearer,
    claims,
    ec_key,
    encode,
    public_pem,
    rsa_key,
    signature,
    token,
)
from cluster import Instance, wait_until

SECRET = "planted-secret-of-32-bytes-or-more"
HMAC = SECRET.encode()
RSA, EC = rsa_key(), ec_key()
OTHER_RSA, OTHER_EC = rsa_key(), ec_key()
P384 = ec_key(ec.SECP384R1)
PATH = "/api/auth/keys"


@pytest.fixture(scope="module")
def by_rsa(servers):
    """HS256 and RS256, with issuer and audience."""
    settings = {
        "AUTH_ENABLED": "true",
        "JWT_SECRET": SECRET,
        "JWT_PUBLIC_KEY": public_pem(RSA),
        "JWT_EXPIRATION": "1h",
        "JWT_ISSUER": "https://issuer.example",
        "JWT_AUDIENCE": "sql-free",
    }
    with Instance(servers, **settings) as api:
        yield api


@pytest.fixture(scope="module")
def by_ec(servers, tmp_path_factory):
    """ES256 alone, by a key in a file; the role has a name of its own."""
    file = tmp_path_factory.mktemp("key") / "public.pem"
    file.write_text(public_pem(EC))
    settings = {
        "AUTH_ENABLED": "true",
        "JWT_PUBLIC_KEY_FILE": file,
        "JWT_ROLE_CLAIM": "https://example.com/roles",
    }
    with Instance(servers, **settings) as api:
        yield api


@pytest.fixture(scope="module")
def by_none(servers):
    with Instance(servers, AUTH_ENABLED="true") as api:
        yield api


def parties(**changes):
    both = {"iss": "https://issuer.example", "aud": "sql-free"}
    return both | changes


def make(alg="HS256", key=HMAC, header=None, **changes):
    return token(alg, key, header, **parties(**changes))


def raw(payload: bytes) -> str:
    """Signed well, whatever the claims are."""
    text = f"{b64(json.dumps({'alg': 'HS256'}).encode())}.{b64(payload)}"
    return f"{text}.{b64(signature('HS256', HMAC, text.encode()))}"


def cut(text: str, part: int, n: int) -> str:
    parts = text.split(".")
    parts[part] = parts[part][:-n]
    return ".".join(parts)


def spoil(text: str, part: int) -> str:
    parts = text.split(".")
    middle = len(parts[part]) // 2
    old = parts[part][middle]
    new = "A" if old != "A" else "B"
    parts[part] = parts[part][:middle] + new + parts[part][middle + 1 :]
    return ".".join(parts)


def now() -> int:
    return int(time.time())


GOOD = {
    "HS256": lambda: make(),
    "RS256": lambda: make("RS256", RSA),
    "without typ": lambda: make(header={"typ": "jwt", "kid": "7"}),
    "audience in a list": lambda: make(aud=["other", "sql-free"]),
    "not before, within the leeway": lambda: make(nbf=now() + 30),
    "issued ahead, within the leeway": lambda: make(iat=now() + 30),
    "issued almost an hour ago": lambda: make(iat=now() - 3500),
    "no iat, an hour to live": lambda: make(iat=None, exp=now() + 3600),
    "times with fractions": lambda: make(
        iat=time.time() - 0.5, exp=time.time() + 60.5
    ),
    "long life, young": lambda: make(exp=now() + 10**7),
    "role in a list": lambda: make(role=["x", "read", "admin", "write", 7]),
    "no subject": lambda: make(sub=None),
    "long subject": lambda: make(sub="x" * 2000),
}

FORBIDDEN = {
    "unknown role": lambda: make(role="root"),
    "no role": lambda: make(role=None),
    "role of another case": lambda: make(role="Admin"),
    "role that is a number": lambda: make(role=3),
    "role in an object": lambda: make(role={"admin": True}),
    "empty list of roles": lambda: make(role=[]),
    "role too small": lambda: make(role="write"),
    "roles too small": lambda: make(role=["read", "write"]),
}

BAD = {
    "none": lambda: encode({"alg": "none"}, claims(**parties()), lambda d: b""),
    "none with a signature": lambda: encode(
        {"alg": "none"}, claims(**parties()), lambda d: b"x"
    ),
    "none in capitals": lambda: encode(
        {"alg": "NONE"}, claims(**parties()), lambda d: b"x"
    ),
    "none, signed": lambda: make(header={"alg": "none"}),
    "no alg": lambda: make(header={"alg": None}),
    "alg that is a list": lambda: make(header={"alg": ["HS256"]}),
    "alg of another case": lambda: make(header={"alg": "hs256"}),
    "HS384": lambda: make("HS384"),
    "HS512": lambda: make("HS512"),
    "HS256 by another secret": lambda: make(key=b"x" * 32),
    "HS256 by an empty secret": lambda: make(key=b""),
    "HS256 by the public key": lambda: make(key=public_pem(RSA).encode()),
    "HS512 by the public key": lambda: make("HS512", public_pem(RSA).encode()),
    "RS256 by another key": lambda: make("RS256", OTHER_RSA),
    "RS384": lambda: make("RS384", RSA),
    "RS512": lambda: make("RS512", RSA),
    "PS256": lambda: make("PS256", RSA),
    "ES256 where the key is RSA": lambda: make("ES256", EC),
    "RS256 signed as HS256": lambda: make(header={"alg": "RS256"}),
    "HS256 signed as RS256": lambda: make("RS256", RSA, header={"alg": "HS256"}),
    "key in the header": lambda: make(
        "RS256", OTHER_RSA, header={"jwk": {"kty": "RSA", "e": "AQAB"}}
    ),
    "extensions that must be understood": lambda: make(
        header={"crit": ["x"], "x": 1}
    ),
    "expired": lambda: make(exp=now() - 1),
    "expired now": lambda: make(exp=now()),
    "no exp": lambda: make(exp=None),
    "exp that is a text": lambda: make(exp=str(now() + 60)),
    "exp that is true": lambda: make(exp=True),
    "exp beyond all dates": lambda: make(exp=1e300),
    "not yet valid": lambda: make(nbf=now() + 120),
    "nbf that is a text": lambda: make(nbf="soon"),
    "issued in the future": lambda: make(iat=now() + 120),
    "issued too long ago": lambda: make(iat=now() - 3601),
    "iat that is a list": lambda: make(iat=[now()]),
    "no iat, two hours to live": lambda: make(iat=None, exp=now() + 7200),
    "wrong issuer": lambda: make(iss="https://issuer.example/"),
    "no issuer": lambda: make(iss=None),
    "issuer in a list": lambda: make(iss=["https://issuer.example"]),
    "wrong audience": lambda: make(aud="sql"),
    "no audience": lambda: make(aud=None),
    "wrong audiences": lambda: make(aud=["a", "b"]),
    "empty audiences": lambda: make(aud=[]),
    "signature cut": lambda: cut(make(), 2, 1),
    "signature cut to nothing": lambda: cut(make(), 2, 43),
    "claims cut": lambda: cut(make(), 1, 4),
    "header cut": lambda: cut(make(), 0, 4),
    "signature spoiled": lambda: spoil(make(), 2),
    "claims spoiled": lambda: spoil(make(), 1),
    "RS256 signature spoiled": lambda: spoil(make("RS256", RSA), 2),
    "two parts": lambda: make().rpartition(".")[0],
    "four parts": lambda: make() + ".x",
    "padded": lambda: make() + "=",
    "foreign bytes": lambda: make().replace(".", ".~", 1),
    "claims that are a list": lambda: raw(b"[1]"),
    "claims that are no JSON": lambda: raw(b"{"),
    "empty claims": lambda: raw(b"{}"),
    "deep header": lambda: f"{b64(b'[' * 3000)}.{b64(b'{}')}.AAAA",
    "deep claims": lambda: raw(b'{"a":' + b"[" * 1500 + b"]" * 1500 + b"}"),
    "too long": lambda: make(sub="x" * 7000),
}


def ask(api, text):
    return api.get(PATH, headers=bearer(text))


@pytest.mark.parametrize("name", GOOD)
def test_good_tokens(by_rsa, name):
    reply = ask(by_rsa, GOOD[name]())
    assert reply.status == 200, reply.body


@pytest.mark.parametrize("name", FORBIDDEN)
def test_tokens_without_the_role(by_rsa, name):
    reply = ask(by_rsa, FORBIDDEN[name]())
    assert (reply.status, reply.code()) == (403, "FORBIDDEN")
    assert "WWW-Authenticate" not in reply.headers


@pytest.mark.parametrize("name", BAD)
def test_bad_tokens(by_rsa, name):
    for _ in range(2):
        reply = ask(by_rsa, BAD[name]())
        assert (reply.status, reply.code()) == (401, "UNAUTHORIZED"), name
        challenge = reply.headers.get_all("WWW-Authenticate")
        assert challenge == ['Bearer error="invalid_token"']
        assert SECRET not in reply.body.decode()


def test_elliptic_curve_key_from_a_file(by_ec):
    roles = {"https://example.com/roles": ["write", "admin"], "role": None}
    good = token("ES256", EC, **roles)
    assert ask(by_ec, good).status == 200
    assert ask(by_ec, token("ES256", EC)).code() == "FORBIDDEN"
    pem = public_pem(EC).encode()
    for bad in (
        token("ES256", OTHER_EC, **roles),
        token("ES384", P384, **roles),
        token("ES256", P384, **roles),
        token("RS256", RSA, **roles),
        token("HS256", pem, **roles),
        token("HS256", HMAC, **roles),
        token("HS256", b"", **roles),
        spoil(good, 2),
        cut(good, 2, 2),
        good + "AA",
        f"{good.rpartition('.')[0]}.{b64(bytes(64))}",
    ):
        assert ask(by_ec, bad).code() == "UNAUTHORIZED", bad


def test_without_a_key_no_token_is_believed(by_none):
    for bad in (
        token("HS256", b""),
        token("HS256", HMAC),
        token("RS256", RSA),
        token("ES256", EC),
        encode({"alg": "none"}, claims(), lambda d: b""),
        encode({"alg": "none"}, claims(), lambda d: b"x"),
    ):
        assert ask(by_none, bad).code() == "UNAUTHORIZED", bad


def test_token_ends_at_its_time_though_it_is_remembered(by_rsa):
    brief = make(exp=now() + 3)
    assert ask(by_rsa, brief).status == 200
    wait_until("it ends", lambda: ask(by_rsa, brief).status == 401, 3.5)


def test_reason_helps_who_holds_the_token(by_rsa):
    def told(text):
        return ask(by_rsa, text).json()["message"]

    assert "expired" in told(make(exp=now() - 1))
    assert "no exp" in told(make(exp=None))
    assert "(aud)" in told(make(aud="x")) and "sql-free" not in told(make(aud="x"))
    # without the right signature nothing of the claims is judged
    assert "signature" in told(make(key=b"x" * 32, exp=now() - 1))
