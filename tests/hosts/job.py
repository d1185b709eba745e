"""The main job, from outside: a site that someone registers through nginx is probed, and its state is read back."""

from __future__ import annotations

from tests.hosts.deployed import Deployment
from tests.hosts.settings import GATEWAY
from tests.stack.site import website


def sees_a_site_up_and_down(deployment: Deployment) -> None:
    """Register a website of this machine's, see it up, end it, and see it down with a reason."""
    token, address = deployment.admin_token(), str(GATEWAY)
    with website(address=address) as port:
        body = {"name": "the tester's", "url": f"http://{address}:{port}/", "interval": 1}
        status, answer = deployment.ask("POST", "/api/v1/sites", body, token)
        assert status == 201, answer
        site = int(answer["data"]["site"]["id"])
        up = deployment.wait_for_site(token, site, "up")
        assert (up["state"], up["status_code"]) == ("up", 200)
    down = deployment.wait_for_site(token, site, "down")
    assert (down["state"], down["status_code"]) == ("down", None)
    assert down["error"]
