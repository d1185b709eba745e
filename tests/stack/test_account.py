"""An account's life in a browser, through nginx: registered, confirmed by mail, used in two languages, made safe."""

from __future__ import annotations

import email
import re
import time
from email import policy
from pathlib import Path

from tests.stack.conftest import LocalStack

EMAIL, WORD, NEXT_WORD = "Newcomer@Example.org", "the newcomer's word", "the newcomer's next word"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def link_of_mail(stack: LocalStack, recipient: str, *, seconds: float = 30) -> str:
    """Return the link of the mail that sync has written for somebody."""
    folder = Path(stack.values["paths"]["data"], "mail")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for path in folder.glob("*.eml"):
            letter = email.message_from_bytes(path.read_bytes(), policy=policy.default)
            body = letter.get_body()
            if letter["To"] == recipient and body is not None:
                found = re.search(rf"{re.escape(stack.url)}/\S+", body.get_content())
                assert found is not None, body.get_content()
                return found[0]
        time.sleep(0.2)
    raise AssertionError(f"no mail in {folder}: {sorted(folder.glob('*'))}")


def test_an_account_from_its_registration_to_a_changed_password(stack: LocalStack) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*FLAGS, "--disable-sync"])
        # Without script: nothing on these pages needs it.
        page = browser.new_context(java_script_enabled=False, locale="en-GB").new_page()
        problems: list[str] = []
        elsewhere: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda asked: elsewhere.append(asked.url) if not asked.url.startswith(stack.url) else None)

        page.goto(f"{stack.url}/login")
        page.get_by_role("link", name="Register").click()
        page.get_by_label("Name").fill("Newcomer")
        page.get_by_label("E-mail").fill(EMAIL)
        page.get_by_label("Password").fill(WORD)
        page.get_by_role("button", name="Register").click()
        assert "a mail is on its way" in page.get_by_role("status").inner_text()

        link = link_of_mail(stack, EMAIL)
        answer = page.goto(link)
        assert answer is not None
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        page.get_by_label("Password").fill(WORD)
        page.get_by_role("button", name="Confirm").click()
        assert page.get_by_role("status").inner_text() == f"{EMAIL} was added!"
        assert page.url == f"{stack.url}/"
        assert page.get_by_role("link", name="People").count() == 0

        page.get_by_role("button", name="Log out").click()
        page.get_by_label("E-mail").fill(EMAIL.lower())
        page.get_by_label("Password").fill(WORD)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="Sites").wait_for()

        page.get_by_role("link", name="Newcomer").click()
        page.get_by_role("combobox", name="Language").select_option("简体中文")
        page.get_by_label("Time zone").select_option("Asia/Shanghai")
        page.get_by_role("button", name="Save").click()
        assert page.locator("html").get_attribute("lang") == "zh-Hans"
        assert page.get_by_role("heading", level=1).inner_text() == "账户"
        assert "Asia/Shanghai" in page.get_by_role("contentinfo").inner_text()
        page.get_by_role("button", name="English").click()
        assert page.get_by_role("heading", level=1).inner_text() == "Account"

        other = browser.new_context(locale="en-GB").new_page()
        other.goto(f"{stack.url}/account")
        other.get_by_label("E-mail").fill(EMAIL)
        other.get_by_label("Password").fill(WORD)
        other.get_by_role("button", name="Log in").click()
        other.get_by_role("heading", name="Account").wait_for()

        page.reload()
        assert page.locator("li[data-session]").count() == 2
        password = page.get_by_role("region", name="Password")
        password.get_by_label("Present password").fill(WORD)
        password.get_by_label("New password").fill(NEXT_WORD)
        password.get_by_role("button").click()
        assert page.get_by_role("status").inner_text() == "The password was changed."
        assert page.locator("li[data-session]").count() == 1

        other.reload()
        assert other.url.startswith(f"{stack.url}/login")
        browser.close()

    assert problems == []
    assert elsewhere == []
    status, _, _ = stack.ask("POST", "/api/v1/auth/login", {"email": EMAIL, "password": NEXT_WORD})
    assert status == 200
    token = link.partition("token=")[2]
    for log in Path(stack.values["paths"]["log"]).glob("*.log"):
        text = log.read_text().lower()
        for secret in (token, WORD, NEXT_WORD, EMAIL):
            assert secret.lower() not in text, (log, secret)
