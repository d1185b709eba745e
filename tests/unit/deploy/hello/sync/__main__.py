"""Does nothing but write its heartbeat."""

import json
import os
import time

while True:
    path = os.environ["APP_HEARTBEAT_FILE"]
    with open(f"{path}.new", "w") as file:
        json.dump({"time": time.time(), "pid": os.getpid(), "release": os.environ["APP_RELEASE"]}, file)
    os.replace(f"{path}.new", path)
    time.sleep(0.2)
