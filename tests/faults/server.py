"""A real `mlflow server` that can be killed, and a wire to it that can be slow or lose answers."""

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from contextlib import closing, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.tracking.shown import new_store, wait_until


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """An MLflow server with a SQLite store, in a process group of its own. `store` is the store's URI."""

    def __init__(self, folder: Path):
        self.store = new_store(folder / "server.db")
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._artifacts = folder / "artifacts"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Returns once it answers; at once where it runs already."""
        if self._process:
            return
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.store]
        command += ["--artifacts-destination", str(self._artifacts)]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        # The server's workers for language-model jobs take longer to start than all the rest of it.
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, env=environment, start_new_session=True, **quiet)
        wait_until(self._answers)

    def kill(self) -> None:
        """SIGKILL to the server and its workers."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        assert self._process.poll() is None, "the server ended"
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
            return answer.status == 200
        return False


class Wire(ThreadingHTTPServer):
    """Stands before a server and hands on what it is asked.

    Args:
        port: where the server listens.
        delay: seconds that every answer is held back.
        lost: by the end of a request's path, which of these requests (counted from 1) are carried out but not answered.
    """

    daemon_threads = True

    def __init__(self, port: int, delay: float = 0.0, lost: dict[str, set[int]] | None = None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.delay = port, delay
        self.uri = f"http://127.0.0.1:{self.server_port}"
        self.cut = threading.Event()
        self.unanswered = 0
        self._lost = lost or {}
        self._met: Counter[str] = Counter()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def loses(self, path: str) -> bool:
        """Whether the answer to this request, which was carried out, gets lost."""
        self._met[path] += 1
        lost = any(path.endswith(end) and self._met[path] in numbers for end, numbers in self._lost.items())
        self.unanswered += lost
        return lost

    def close(self) -> None:
        """Answers nobody any more."""
        self.cut.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with closing(HTTPConnection("127.0.0.1", self.server.behind)) as server:
            server.request(self.command, self.path, body, dict(self.headers))
            answer = server.getresponse()
            content = answer.read()
        if self.server.loses(self.path) or self.server.cut.wait(self.server.delay):
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _hand_on

    def log_message(self, *_) -> None:
        pass
