"""How the program starts, refuses to start, and replaces what is stale."""

import socket
import stat
import subprocess

import pytest

from cluster import APP, BARE, Instance, Process, free_port, wait_until


def run(*args, **env) -> subprocess.CompletedProcess:
    return subprocess.run(
        [APP, *args], env=BARE | env, capture_output=True, text=True, timeout=20
    )


def test_every_bad_setting_is_named_and_nothing_starts(tmp_path):
    path = tmp_path / "s"
    got = run(
        FCGI_LISTEN=f"unix:{path}",
        FCGI_THREADS="many",
        DEFAULT_PAGE_SIZE="0",
        JSON_LIMIT="10mbx",
    )
    assert got.returncode == 2
    for name in ("FCGI_THREADS", "DEFAULT_PAGE_SIZE", "JSON_LIMIT"):
        assert f"config: {name}: " in got.stderr
    assert not path.exists()


def test_check_config_touches_no_server():
    good = run("--check-config", MONGODB_URI="mongodb://127.0.0.1:1/x")
    assert good.returncode == 0, good.stderr
    assert run("--check-config", MAX_PAGE_SIZE="5").returncode == 2


def test_print_config_masks_secrets():
    got = run(
        "--print-config",
        MONGODB_URI="mongodb://me:planted-1@127.0.0.1/x",
        REDIS_PASSWORD="planted-2",
        JWT_SECRET="planted-3-planted-3-planted-3-planted-3",
    )
    assert got.returncode == 0, got.stderr
    assert "planted" not in got.stdout + got.stderr
    assert "\nFCGI_THREADS=16" in "\n" + got.stdout


def test_usage_version_and_help():
    assert run("--nonsense").returncode == 2
    assert run("--help").returncode == 0
    assert run("--version").stdout.startswith("sql-free ")


def test_env_file_is_read_and_environment_wins(tmp_path):
    file = tmp_path / "f.env"
    file.write_text("# comment\nFCGI_THREADS=7\nNODE_ENV='a b'\n")
    got = run("--env-file", file, "--print-config", NODE_ENV="mine")
    assert "\nFCGI_THREADS=7 " in got.stdout
    assert "\nNODE_ENV=mine " in got.stdout


def test_wildcard_address_needs_a_setting():
    got = run("--check-config", FCGI_LISTEN="0.0.0.0:9000")
    assert got.returncode == 2 and "FCGI_ALLOW_PUBLIC" in got.stderr


def test_socket_has_its_mode_and_goes_away(servers):
    with Instance(servers, web=None, FCGI_SOCKET_MODE="0600") as api:
        assert stat.S_IMODE(api.socket.stat().st_mode) == 0o600
        assert api.app.stop() == 0
        assert not api.socket.exists()


def test_stale_socket_is_replaced_and_a_live_one_is_not(servers):
    with Instance(servers) as api:
        again = Process(api.folder, "second", [APP], api.env)
        assert again.popen.wait(20) == 1
        assert api.get("/health").status == 200
        api.app.stop()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(api.socket))
        api.start_app()
        api.wait_ready()


def test_start_without_mongodb_answers_health_then_ends(servers):
    settings = {
        "MONGODB_URI": f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0",
        "DB_SERVER_SELECTION_TIMEOUT_MS": 300,
        "DB_MAX_RECONNECT_ATTEMPTS": 10,
        "DB_RECONNECT_INITIAL_DELAY": 300,
        "DB_RECONNECT_MAX_DELAY": 600,
    }
    with Instance(servers, ready=False, **settings) as api:

        def health():
            try:
                return api.get("/health")
            except OSError:
                return None

        reply = wait_until(
            "health answers",
            lambda: (r := health()) and r.status == 200 and r,
        )
        assert reply.json()["mongodb"] == "disconnected"
        ready = api.get("/health/ready")
        assert (ready.status, ready.code()) == (503, "NOT_READY")
        assert ready.json()["ready"] is False
        assert api.app.popen.wait(30) == 1


def test_listens_on_tcp(servers):
    port = free_port()
    with Instance(
        servers, web=None, ready=False, FCGI_LISTEN=f"127.0.0.1:{port}"
    ) as api:

        def open_port():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0

        wait_until("the port is open", open_port)
        assert api.app.stop() == 0


@pytest.mark.parametrize("fmt", ["json", "text"])
def test_access_log_hides_queries(servers, fmt):
    with Instance(servers, LOG_FORMAT=fmt) as api:
        api.get("/api/db/things?token=planted")
        api.get("/health")

        def line():
            return "/api/db/things" in api.app.out.read_text()

        wait_until("the access log has the request", line, 5)
        assert "planted" not in api.app.out.read_text()
        assert "planted" not in api.app.err.read_text()
