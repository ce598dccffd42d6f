"""sink - a receiver that is never the bottleneck: nginx that answers 200 with
an empty body."""

from __future__ import annotations

import re
import shutil
import tempfile
import urllib.request
from pathlib import Path

from cluster import PATH, Process, can_connect, free_port, wait_until

CONF = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 1h;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /requests {{ stub_status; }}
        location / {{ return 200; }}
    }}
}}
"""


class Sink:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sf"))
        self.port = free_port()
        self.asked = 0
        conf = self.folder / "sink.conf"
        conf.write_text(CONF.format(folder=self.folder, port=self.port))
        argv = [shutil.which("nginx", path=PATH), "-p", self.folder, "-c", conf]
        self.process = Process(
            self.folder, "sink", [*argv, "-g", "daemon off;"], {"PATH": PATH}
        )
        wait_until("the receiver listens", lambda: can_connect(self.port))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int:
        return self.process.pid

    def requests(self) -> int:
        """How many were answered, but for those of this function."""
        with urllib.request.urlopen(f"{self.url}requests", timeout=10) as reply:
            text = reply.read().decode()
        self.asked += 1
        # accepts handled requests
        return int(re.search(r"^ \d+ \d+ (\d+)", text, re.M)[1]) - self.asked

    def stop(self) -> None:
        self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
