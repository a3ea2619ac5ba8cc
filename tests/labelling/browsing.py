"""Headless Chromium on the labelling page: it clicks and types as a person does."""

import contextlib
import os
import shutil
import time

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60.0  # seconds until what should appear has appeared


@contextlib.contextmanager
def browser():
    """The browser of this machine; without one the test is skipped, and says so."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    driver = shutil.which("chromedriver")
    if not (found and driver):
        pytest.skip(
            "no Chromium and chromedriver on the PATH: apt-get install chromium "
            "chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = found
    for argument in ("headless=new", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    if hasattr(os, "geteuid") and not os.geteuid():
        options.add_argument("--no-sandbox")  # it refuses to start as root otherwise
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield opened
    finally:
        opened.quit()


class Page:
    """A window on the page."""

    def __init__(self, driver, url):
        self.driver = driver
        driver.get(url)
        self.handle = driver.current_window_handle

    def text(self, id):
        """The text of an element; "" while it is hidden."""
        return self.driver.find_element(By.ID, id).text

    def until(self, seen, what):
        """Waits until `seen()` is true, or fails with `what`."""
        end = time.monotonic() + PATIENCE
        while not seen():
            shown = self.driver.find_element(By.TAG_NAME, "body").text
            assert time.monotonic() < end, f"{what}; the page shows: {shown}"
            time.sleep(0.02)

    def until_text(self, id, part):
        self.until(lambda: part in self.text(id), f"{part!r} is not in #{id}")

    def at(self, position):
        """Waits until the image of this position is shown, ready for an answer."""
        self.until(
            lambda: (
                self.text("count").startswith(f"{position} of ")
                and (self.shows_picture() or self.text("reason"))
            ),
            f"image {position} is not shown",
        )

    def shows_picture(self):
        return self.driver.execute_script(
            "const i = document.getElementById('picture');"
            "return !i.hidden && i.naturalWidth > 0 && i.clientWidth > 0;"
        )

    def press(self, *keys):
        """Presses keys one after another, wherever the focus is."""
        chain = ActionChains(self.driver)
        for key in keys:
            chain.send_keys(key)
        chain.perform()

    def click(self, id):
        self.driver.find_element(By.ID, id).click()

    def click_text(self, text):
        """Clicks the button that begins with a text."""
        buttons = self.driver.find_elements(By.TAG_NAME, "button")
        next(b for b in buttons if text in b.text and b.is_displayed()).click()

    def classes(self):
        """The names of the classes in the order that is shown."""
        found = self.driver.find_elements(By.CSS_SELECTOR, ".classes button")
        return [button.get_dom_attribute("data-name") for button in found]

    def chosen(self):
        """The class that is shown as the answer of this image."""
        selector = ".classes button[aria-pressed=true]"
        found = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return [button.get_dom_attribute("data-name") for button in found]

    def switch(self):
        """Goes on in this window."""
        self.driver.switch_to.window(self.handle)

    def complaints(self):
        """What the browser's console has of this window."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE"
        ]
