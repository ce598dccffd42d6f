"""fixtures - servers and instances shared by the tests of one run."""

import sys
import uuid

import pytest

from cluster import APP, ROOT, WEBS, Instance, Servers, stop_all
from paths import PATHS, servers_of

sys.path.insert(0, str(ROOT / "tests" / "toxics"))


class Pool:
    """Instances by web server and settings: made at first use, kept."""

    def __init__(self, servers: Servers):
        self.servers = servers
        self.instances: dict[tuple, Instance] = {}

    def get(self, web: str, **settings) -> Instance:
        key = (web, *sorted(settings.items()))
        if key not in self.instances:
            self.instances[key] = Instance(self.servers, web, **settings)
        return self.instances[key]

    def stop(self) -> None:
        stop_all(self.instances.values())


@pytest.fixture(scope="session")
def servers():
    assert APP.exists(), f"{APP} is missing: make"
    s = Servers()
    yield s
    s.stop()


@pytest.fixture(scope="module")
def own():
    """Servers that a module's tests may harm."""
    s = Servers()
    yield s
    s.stop()


@pytest.fixture(scope="module", params=PATHS)
def path(request):
    """Of claims: each in turn."""
    return request.param


@pytest.fixture(scope="module")
def stack(path):
    """Servers that a module's tests may harm: what the path needs, no more."""
    s = servers_of(path)
    yield s
    s.stop()


@pytest.fixture(scope="session")
def pool(servers):
    p = Pool(servers)
    yield p
    p.stop()


@pytest.fixture(params=WEBS)
def api(request, pool):
    """An instance behind each web server in turn."""
    instance = pool.get(request.param)
    yield instance
    call = getattr(request.node, "call_report", None)
    if call is not None and call.failed:
        print(instance.logs())


@pytest.fixture
def collection():
    """A name that no other test uses."""
    return f"c{uuid.uuid4().hex[:12]}"


@pytest.fixture
def db(servers):
    with servers.client() as client:
        yield client


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.call_report = outcome.get_result()
