"""The console in headless Chromium: a network made by clicking, a NAD mapped to it, the pod that appears.

``MULTINET_SCREENSHOTS=1`` writes the pictures of the documentation, ``docs/console-*.png``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

DRIVER = "/usr/bin/chromedriver"
BROWSER = "/usr/bin/chromium"
DOCS = Path(__file__).parents[2] / "docs"
LIMIT_S = 15


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Any]:
    assert shutil.which(DRIVER), "chromedriver is missing: apt-get install chromium chromium-driver"
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-proxy-server",
        # What a browser does of its own accord would leave the machine.
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-quic",
        "--disable-sync",
        "--no-first-run",
        "--force-device-scale-factor=1",
        "--window-size=1280,900",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield started
    finally:
        started.quit()


class Page:
    """The browser as a person uses it; each wait has a limit and says what it waited for."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def see(self, text: str) -> None:
        from selenium.webdriver.common.by import By

        _until(
            self.driver,
            lambda driver: text in driver.find_element(By.TAG_NAME, "main").text,
            f"waited {LIMIT_S} s for {text!r} at {self.driver.current_url}",
        )

    def type(self, field: str, text: str) -> None:
        from selenium.webdriver.common.by import By

        element = self.driver.find_element(By.ID, field)
        element.clear()
        element.send_keys(text)

    def press(self, label: str) -> None:
        from selenium.webdriver.common.by import By

        self._click(By.XPATH, f"//button[normalize-space()='{label}']")

    def link(self, label: str) -> None:
        from selenium.webdriver.common.by import By

        self._click(By.LINK_TEXT, label)

    def _click(self, how: str, what: str) -> None:
        """Click, again if the page was replaced between finding and clicking (then nothing was clicked)."""

        def clicked(driver: Any) -> bool:
            driver.find_element(how, what).click()
            return True

        _until(self.driver, clicked, f"no click on {what}")

    def complains(self, text: str) -> None:
        """An error is shown in place, and holds ``text``."""
        from selenium.webdriver.common.by import By

        _until(
            self.driver,
            lambda driver: text in driver.find_element(By.CSS_SELECTOR, "[role=alert]").text,
            f"waited {LIMIT_S} s for an error that says {text!r} at {self.driver.current_url}",
        )

    def picture(self, name: str) -> None:
        if os.environ.get("MULTINET_SCREENSHOTS") == "1":
            self.driver.save_screenshot(str(DOCS / f"console-{name}.png"))

    def scheme(self, value: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def complaints(self) -> list[str]:
        """What the browser's console says: a blocked style or script, a missing file."""
        found = self.driver.get_log("browser")
        texts = [entry["message"] for entry in found if entry["level"] == "SEVERE"]
        # The refusals which this test provokes, and the icon which every browser asks for.
        return [text for text in texts if "favicon.ico" not in text and "status of 4" not in text]


def _until(driver: Any, condition: Callable[[Any], bool], message: str) -> None:
    """Wait for a condition; a page that is replaced while it is looked at is looked at again."""
    from selenium.common.exceptions import (
        NoSuchElementException,
        StaleElementReferenceException,
        WebDriverException,
    )
    from selenium.webdriver.support.ui import WebDriverWait

    def holds(_driver: Any) -> bool:
        try:
            return condition(driver)
        except (NoSuchElementException, StaleElementReferenceException):
            return False
        except WebDriverException as error:
            # Chromium's own words for a stale element, when the page goes in the middle of a command.
            if "does not belong to the document" in str(error):
                return False
            raise

    WebDriverWait(driver, LIMIT_S).until(holds, message)


def log_in(page: Page, token: str) -> None:
    page.open("/console/")
    page.see("Log in")
    page.picture("login")
    page.type("token", "wrong")
    page.press("Log in")
    page.complains("not accepted")
    page.type("token", token)
    page.press("Log in")
    page.see("k8s-default-pod-network")


def create_network(page: Page) -> None:
    page.type("name", "blue")
    page.type("cidr", "10.20.0.0/31")
    page.press("Create network")
    page.complains("10.20.0.0/31")
    page.picture("error")
    page.type("cidr", "10.20.0.0/24")
    page.press("Create network")
    page.see("default-domain:default-project:blue")
    page.see("No interface is in this network")
    page.open("/console/")
    page.see("10.20.0.0/24")
    page.link("blue")
    page.link("Keep reloading")
    page.see("ready")


def look_around(page: Page) -> None:
    page.picture("network")
    page.open("/console/pods")
    page.see("10.20.0.252/24")
    page.picture("pods")
    page.open("/console/topology")
    assert "10.20.0.252" in page.driver.page_source
    page.picture("topology")
    page.scheme("dark")
    dark = page.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.picture("topology-dark")
    page.open("/console/")
    page.picture("networks-dark")
    page.scheme("light")
    light = page.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.open("/console/")
    page.picture("networks")


def delete_network(page: Page) -> None:
    from selenium.webdriver.common.by import By

    page.link("blue")
    page.driver.find_element(By.TAG_NAME, "summary").click()
    page.press("Delete blue")
    page.complains("still referred")
    page.complains("web__")


def use_the_keyboard(page: Page) -> None:
    """From the top of the page to a new network with keys alone."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page.open("/console/")
    keys = ActionChains(page.driver)
    for _ in range(40):
        keys.send_keys(Keys.TAB).perform()
        keys.reset_actions()
        if page.driver.switch_to.active_element.get_attribute("id") == "name":
            break
    keys.send_keys("typed", Keys.TAB, Keys.TAB, "10.30.0.0/24", Keys.ENTER).perform()
    page.see("default-domain:default-project:typed")
    page.driver.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    keys.reset_actions()
    keys.send_keys(Keys.TAB, Keys.ENTER).perform()
    page.see("Virtual networks")
    assert "10.30.0.0/24" not in page.driver.page_source


async def test_a_network_made_by_clicking_reaches_a_pod(cluster: Any, driver: Any) -> None:
    for number in (1, 2):
        await cluster.node(f"node{number}", f"127.0.0.1{number}")
    page = Page(driver, cluster.config.url)
    await asyncio.to_thread(log_in, page, cluster.token)
    await asyncio.to_thread(create_network, page)
    await cluster.nad_mapped_to("blue", "default-domain", "default-project", "blue")
    await asyncio.to_thread(page.see, "default/blue maps to it")
    await cluster.pod("web", "blue")
    await cluster.pod("db", "blue", node="node2")
    await asyncio.to_thread(page.see, "default/web")
    await asyncio.to_thread(page.see, "10.20.0.252/24")
    await asyncio.to_thread(page.see, "default/db")
    await asyncio.to_thread(look_around, page)
    await asyncio.to_thread(delete_network, page)
    await asyncio.to_thread(use_the_keyboard, page)
    assert await asyncio.to_thread(page.complaints) == []
