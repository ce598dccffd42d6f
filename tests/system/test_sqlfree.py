"""The program sqlfree, settings that cannot work, and secrets in outputs."""

import json
import re
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor

import pymongo
import pytest
from bson import Int64
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from access import bearer, ec_key, new_key, private_pem, public_pem, rsa_key, token
from cluster import (
    APP,
    BARE,
    CLI,
    ROOT,
    Instance,
    Process,
    can_connect,
    free_port,
    wait_until,
)

KEY = re.compile(r"sqf_[A-Za-z0-9_-]{43}\n")
SECRET = "planted-secret-of-32-bytes-or-more"


@pytest.fixture(scope="module")
def api(servers):
    """Access is off: keys are made before it is on."""
    with Instance(servers, web=None) as instance:
        yield instance


def run(program, *words, cwd=None, **env):
    return subprocess.run(
        [program, *words],
        env=BARE | env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_key_is_all_that_goes_to_stdout(api, db):
    got = api.cli("keys", "create", "--name", "Ann's", "--role", "write")
    assert got.returncode == 0 and KEY.fullmatch(got.stdout), got.stderr
    assert got.stdout.strip() not in got.stderr
    row = db[api.database]["_api_keys"].find_one({"name": "Ann's"})
    assert str(row["_id"]) in got.stderr and row["role"] == "write"
    assert row["prefix"] == got.stdout[:8] and row["expiresAt"] is None
    assert db[api.database]["_api_keys"].index_information()["hash_1"]["unique"]


def test_keys_are_listed_and_revoked(api, db):
    key = new_key(api, "read", "--expires", "7d")
    got = api.cli("keys", "list")
    assert got.returncode == 0, got.stderr
    (line,) = [row for row in got.stdout.splitlines() if key[:8] in row]
    assert "test read" in line and "never" in line and key not in got.stdout
    row = db[api.database]["_api_keys"].find_one({"prefix": key[:8]})
    assert (row["expiresAt"] - row["createdAt"]).total_seconds() == pytest.approx(
        7 * 86400, abs=5
    )
    id = line.split()[0]
    assert api.cli("keys", "revoke", id).returncode == 0
    again = api.cli("keys", "revoke", id)
    assert again.returncode == 1 and "KEY_NOT_FOUND" in again.stderr
    assert key[:8] not in api.cli("keys", "list").stdout


def test_stored_names_do_not_steer_the_terminal(api, db):
    name = "\x1b[31mred\x07"
    db[api.database]["_api_keys"].insert_one({"name": name, "hash": "x"})
    got = api.cli("keys", "list")
    assert got.returncode == 0 and "?[31mred?" in got.stdout
    assert "\x1b" not in got.stdout


@pytest.mark.parametrize(
    "words, part",
    [
        ("", "expected a command"),
        ("keys", "unknown command keys"),
        ("keys make", "unknown command keys make"),
        ("keys list all", "all"),
        ("keys create --role read", "--name: expected"),
        ("keys create --name a", "--role: expected read, write or admin"),
        ("keys create --name a --role root", "--role: expected"),
        ("keys create --name a --role read --expires 7", "--expires: expected"),
        ("keys create --name a --role read --expires 0s", "--expires: expected"),
        ("keys create --name a --role read --name b", "--name: given twice"),
        ("keys create --name a --role", "--role: expected a value"),
        ("keys create --name a --role read --force x", "--force"),
        ("apply", "unknown command apply"),
        ("apply-schemas now", "unknown word or option now"),
        ("keys revoke", "expected one id"),
        ("keys revoke 12", "expected one id"),
        ("--env-file", "--env-file: expected"),
        ("--env-file /nonexistent/f keys list", "--env-file"),
    ],
)
def test_misuse_is_named_and_exits_2(api, words, part):
    got = api.cli(*words.split())
    assert got.returncode == 2 and part in got.stderr and not got.stdout


def test_switches_are_those_of_all_programs(tmp_path):
    file = tmp_path / "f.env"
    file.write_text("FCGI_THREADS=7\n")
    for program in (CLI, APP):
        assert run(program, "--version").stdout.startswith("sql-free ")
        assert "usage: " in run(program, "--help").stdout
        assert run(program, "--check-config").returncode == 0
        assert run(program, "--check-config", PORT="x").returncode == 2
        got = run(program, "--env-file", file, "--print-config")
        assert "\nFCGI_THREADS=7 " in got.stdout and got.returncode == 0
    assert run(APP, "--check-config", "--chekc").returncode == 2
    assert run(APP, "keys").returncode == 2


def test_database_away_is_told(tmp_path):
    uri = "mongodb://me:planted@127.0.0.1:1/x"
    got = run(
        CLI, "keys", "list", MONGODB_URI=uri, DB_SERVER_SELECTION_TIMEOUT_MS="300"
    )
    assert got.returncode == 1 and not got.stdout
    assert "DB_UNAVAILABLE" in got.stderr and "planted" not in got.stderr


def bad_settings() -> dict:
    good = rsa_key()
    pem = public_pem(good)
    legacy = serialization.PrivateFormat.TraditionalOpenSSL
    lines = pem.splitlines()
    return {
        "short secret": {"JWT_SECRET": "x" * 31},
        "RSA of 1024 bits": {"JWT_PUBLIC_KEY": public_pem(rsa_key(1024))},
        "P-384": {"JWT_PUBLIC_KEY": public_pem(ec_key(ec.SECP384R1))},
        "secp256k1": {"JWT_PUBLIC_KEY": public_pem(ec_key(ec.SECP256K1))},
        "private": {"JWT_PUBLIC_KEY": private_pem(good)},
        "private RSA": {"JWT_PUBLIC_KEY": private_pem(good, legacy)},
        "private EC": {"JWT_PUBLIC_KEY": private_pem(ec_key(), legacy)},
        "both": {"JWT_PUBLIC_KEY": pem + private_pem(good)},
        "cut": {"JWT_PUBLIC_KEY": "\n".join(lines[:4] + lines[-1:])},
        "no end": {"JWT_PUBLIC_KEY": "\n".join(lines[:-1])},
        "no PEM": {"JWT_PUBLIC_KEY": "planted-key"},
    }


@pytest.mark.parametrize("name, env", bad_settings().items())
def test_token_settings_that_cannot_work_exit_2(name, env, tmp_path):
    (setting,) = env
    socket = tmp_path / "s"
    env["FCGI_LISTEN"] = f"unix:{socket}"
    # a PEM has no place in a value of one line, but in a file
    file = tmp_path / "value"
    file.write_text(env[setting] + "\n")
    from_file = {f"{setting}_FILE": str(file), "FCGI_LISTEN": env["FCGI_LISTEN"]}
    for program, words in ((APP, ["--check-config"]), (APP, []), (CLI, ["keys", "list"])):
        for given in (env, from_file):
            got = run(program, *words, cwd=tmp_path, **given)
            assert got.returncode == 2 and not got.stdout
            (line,) = got.stderr.splitlines()
            assert re.match(rf"config: {setting}(_FILE)?: ", line), line
            assert "planted" not in line and "PRIVATE" not in line
            body = env[setting].splitlines()
            if "private" in name or name == "both":
                assert not any(part in line for part in body[1:-1])
    assert not socket.exists()


def test_secret_from_a_file_is_masked(tmp_path):
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    for program in (APP, CLI):
        got = run(program, "--print-config", JWT_SECRET_FILE=str(file))
        assert got.returncode == 0
        assert "\nJWT_SECRET=***  # security, environment as JWT_SECRET_FILE" in got.stdout
        assert "planted" not in got.stdout + got.stderr


def test_secrets_are_in_no_output(servers):
    rsa = rsa_key()
    settings = {
        "AUTH_ENABLED": "true",
        "JWT_SECRET": SECRET,
        "JWT_PUBLIC_KEY": public_pem(rsa),
        "LOG_LEVEL": "debug",
    }
    with Instance(servers, **settings) as api:
        key = new_key(api, "admin")
        good = token("HS256", SECRET.encode())
        bad = [key[:-1], key[:-1] + "~", token("HS256", b"x" * 32), token("RS256", rsa) + "x"]
        secrets = [SECRET, key, good, *bad]
        seen = []
        for text in (key, good, *bad):
            for path in ("/api/auth/keys", "/api/auth/keys/x", f"/health?token={text}"):
                for method in ("GET", "DELETE"):
                    reply = api.request(method, path, bearer(text))
                    seen.append(reply.body.decode() + str(reply.headers))
        body = b'{"name":"n","role":"read"}'
        json_type = ("Content-Type", "application/json")
        made = api.request("POST", "/api/auth/keys", [*bearer(key), json_type], body)
        secrets.append(made.json()["data"]["key"])
        for words in (["keys", "list"], ["keys", "revoke", "x"], ["--print-config"]):
            got = api.cli(*words)
            seen.append(got.stdout + got.stderr)
        wait_until(
            "the access log has the last request",
            lambda: '"POST"' in api.app.out.read_text(),
        )
        seen += [p.read_text() for p in (api.app.out, api.app.err)]
        for secret in secrets:
            assert not any(secret in text for text in seen), secret
        changes = [e for e in api.events() if e["event"] == "key.created"]
        assert [e["key"] for e in changes] == [made.json()["data"]["id"]]


SYSTEM = [
    "_api_keys", "_cluster", "_instances", "_jobs", "_leader", "_limits", "_locks",
    "_order", "_outbox", "_webhooks",
]  # fmt: skip
FILES = [
    json.loads((ROOT / f"sql-free-schemas/mongo/{name}.json").read_text())
    for name in SYSTEM
]
ALL = (
    len(FILES),
    sum(len(f["indexes"]) for f in FILES),
    sum(len(f["documents"]) for f in FILES),
)
MADE = re.compile(r"Made: collections (\d+), indexes (\d+), documents (\d+)\.\n")


@pytest.fixture
def fresh(servers, db):
    """Settings of a database that nobody has used."""
    name = f"t{uuid.uuid4().hex[:12]}"
    yield {"MONGODB_URI": servers.uri, "MONGODB_DATABASE_NAME": name}
    db.drop_database(name)


def made(got) -> tuple:
    assert got.returncode == 0 and not got.stdout, got.stderr
    return tuple(int(n) for n in MADE.fullmatch(got.stderr).groups())


def check_schemas(database) -> None:
    names = sorted(database.list_collection_names())
    assert names == SYSTEM
    for name in names:
        assert "validator" in database[name].options(), name
    keys = database["_api_keys"].index_information()["hash_1"]
    assert keys["unique"] and keys["key"] == [("hash", 1)]
    for name, field in (("_instances", "seen"), ("_locks", "until"), ("_order", "at")):
        index = database[name].index_information()[f"{field}_1"]
        assert index["key"] == [(field, 1)] and index["expireAfterSeconds"] == 86400
    rows = {r["_id"]: r for name in SYSTEM for r in database[name].find()}
    term = {"term": Int64(0)}
    assert rows == {
        "redis": {"_id": "redis", "home": "", "dataset": ""} | term,
        "fence": {"_id": "fence", "v": Int64(0)},
        "subs": {"_id": "subs", "ver": Int64(0)},
        "queue:webhook": {"_id": "queue:webhook", "paused": False},
        "cron": {"_id": "cron"} | term,
        "maintenance": {"_id": "maintenance"} | term,
    }
    for id, row in rows.items():
        if id != "queue:webhook":
            number = {"fence": "v", "subs": "ver"}.get(id, "term")
            assert isinstance(row[number], Int64)


def test_schemas_are_applied_and_again_is_no_harm(fresh, db):
    database = db[fresh["MONGODB_DATABASE_NAME"]]
    assert made(run(CLI, "apply-schemas", **fresh)) == ALL
    check_schemas(database)
    assert made(run(CLI, "apply-schemas", **fresh)) == (0, 0, 0)
    check_schemas(database)
    database["_leader"].update_one({"_id": "cron"}, {"$set": {"term": Int64(9)}})
    database["_cluster"].delete_one({"_id": "fence"})
    assert made(run(CLI, "apply-schemas", **fresh)) == (0, 0, 1)
    assert database["_leader"].find_one({"_id": "cron"})["term"] == 9


def test_ten_at_once_apply_the_schemas(fresh, db):
    with ThreadPoolExecutor(10) as pool:
        runs = [pool.submit(run, CLI, "apply-schemas", **fresh) for _ in range(10)]
    counts = [made(r.result()) for r in runs]
    check_schemas(db[fresh["MONGODB_DATABASE_NAME"]])
    assert sum(documents for _, _, documents in counts) == ALL[2]


@pytest.fixture
def guarded(tmp_path):
    """A single mongod, and settings for a user who may not change
    collections, only make and fill them; and the client of one who may."""
    port, data = free_port(), tmp_path / "mongo"
    data.mkdir()
    mongod = subprocess.check_output([ROOT / "conf/dev/mongod.sh"], text=True)
    argv = [mongod.strip(), "--dbpath", data, "--port", port, "--auth"]
    argv += ["--bind_ip", "127.0.0.1", "--nounixsocket", "--noscripting"]
    process = Process(tmp_path, "mongod", argv)
    try:
        wait_until("mongod listens", lambda: can_connect(port), 60)
        at = f"127.0.0.1:{port}"
        with pymongo.MongoClient(f"mongodb://{at}") as first:
            first.admin.command("createUser", "boss", pwd="b", roles=["root"])
        with pymongo.MongoClient(f"mongodb://boss:b@{at}") as boss:
            boss["t"].command("createUser", "app", pwd="a", roles=["readWrite"])
            uri = f"mongodb://app:a@{at}/t"
            yield {"MONGODB_URI": uri, "MONGODB_DATABASE_NAME": "t"}, boss
    finally:
        process.stop()


def test_schemas_of_a_user_who_may_not_set_validators(guarded):
    """On a single mongod: a validator is told and left, all else is made."""
    settings, boss = guarded
    assert made(run(CLI, "apply-schemas", **settings)) == ALL
    check_schemas(boss["t"])
    boss["t"].command("collMod", "_locks", validator={"n": {"$lt": 1}})
    boss["t"]["_locks"].drop_indexes()
    got = run(CLI, "apply-schemas", **settings)
    *warnings, last = got.stderr.splitlines(keepends=True)
    assert got.returncode == 0 and MADE.fullmatch(last).groups() == ("0", "1", "0")
    (told,) = [w for w in warnings if "schema.validator" in w]
    assert "_locks" in told
    settings["MONGODB_URI"] = "mongodb://boss:b@%s:%d" % boss.address
    assert made(run(CLI, "apply-schemas", **settings)) == (0, 0, 0)
    options = boss["t"]["_locks"].options()
    assert "$jsonSchema" in options["validator"]
