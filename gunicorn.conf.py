"""gunicorn's settings, each read from the environment that deploy/stack.yml is rendered to.

There are no defaults here: a missing name is an error. The sockets come from deploy/launch.py.
"""

import os
import signal
from importlib.util import find_spec
from types import FrameType
from typing import Any

_env = os.environ

wsgi_app = _env["APP_WSGI"]
proc_name = f"{_env['APP_NAME']} {_env['APP_INSTANCE']}"

workers = 1  # one instance is one master with one worker; supervisor holds the number of instances
worker_class = _env["GUNICORN_WORKER_CLASS"]
worker_connections = int(_env["GUNICORN_WORKER_CONNECTIONS"])
threads = int(_env["GUNICORN_THREADS"])
max_requests = int(_env["GUNICORN_MAX_REQUESTS"])
max_requests_jitter = max_requests // 10

timeout = int(_env["GUNICORN_TIMEOUT"])
graceful_timeout = int(_env["GUNICORN_GRACEFUL_TIMEOUT"])
keepalive = int(_env["GUNICORN_KEEPALIVE"])
backlog = 2048
limit_request_line = 8190  # what nginx lets through; to a longer one gunicorn answers with a page of its own

reload = _env["GUNICORN_RELOAD"] == "1"
loglevel = _env["GUNICORN_LOGLEVEL"]
errorlog = "-"

# One access log for each port, to which all its instances append; where there are no files, standard output.
_group, _, _number = _env["APP_INSTANCE"].rpartition("-")
_access = _env["GUNICORN_ACCESS_LOG"]  # port, process or none
if _access == "port" and _group.startswith("api-"):
    accesslog: str | None = f"{_env['GUNICORN_LOG_DIR']}/{_group}.access.log"
else:
    accesslog = None if _access == "none" else "-"

# An app may bring a logger: the class Logger in <module>/gunicorn_logs.py. gunicorn's own reopens files on USR1.
access_log_format = (
    '{"time":"%(t)s","process":"' + _env["APP_INSTANCE"] + '","method":"%(m)s","path":"%(U)s",'
    '"status":%(s)s,"bytes":"%(B)s","duration_ms":%(M)s,"request_id":"%({x-request-id}o)s"}'
)
_own_logger = f"{_env['APP_MODULE']}.gunicorn_logs"
logger_class = f"{_own_logger}.Logger" if find_spec(_own_logger) else "gunicorn.glogging.Logger"

# An app may bring a worker too: the class Worker in <module>/gunicorn_worker.py takes the place of gunicorn's gevent.
_own_worker = f"{_env['APP_MODULE']}.gunicorn_worker"
if worker_class == "gevent" and find_spec(_own_worker):
    worker_class = f"{_own_worker}.Worker"

# nginx on this host is the one peer; it writes these headers itself.
forwarded_allow_ips = "127.0.0.1,::1"

# The worker's heartbeat is a file; on a disk under load writing it may block.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else _env["GUNICORN_RUN_DIR"]  # noqa: S108

# One control socket for all instances of a user would be shared by them; `stack` asks each instance's own
# unix socket instead.
control_socket_disable = True


def post_fork(server: object, worker: Any) -> None:
    """Hear a TERM that arrives while the worker boots.

    Until its own handlers are set, some 100 ms after the fork, a worker has the master's, which lose the signal: it
    would serve on, and be killed with requests in hand when graceful_timeout is over.
    """

    def end_after_boot(number: int, frame: FrameType | None) -> None:
        worker.alive = False

    signal.signal(signal.SIGTERM, end_after_boot)
