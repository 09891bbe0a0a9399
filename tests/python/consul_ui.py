"""Opens Consul's page in a browser, as a person would, and prints how each service stands there as JSON.

Standard input: `url`; `services`, the names to wait for; `screenshot`, where to keep a picture of the page.
"""

import json
import shutil
import sys

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

given = json.load(sys.stdin)
PATIENCE = 60
# No sandbox, for root may have none; nothing that asks the network.
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run
--disable-sync --disable-background-networking --disable-component-update --window-size=1200,900"""
# The page builds itself anew at each change, also while it is read.
CHANGES = [NoSuchElementException, StaleElementReferenceException]


def program(*names, packages):
    """Returns where the first of some programs is; nothing is fetched in its place."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        sys.exit(f"{names[0]} is missing. {packages}")
    return found


def rows(browser):
    """Reads each service's row: its name leads to its own page, its health is a class of the mark."""
    found = {}
    for row in browser.find_elements(By.CSS_SELECTOR, "main li:has(> .header)"):
        name = row.find_element(By.CSS_SELECTOR, ".header a").text
        found[name] = row.find_element(By.CSS_SELECTOR, ".header dl").get_attribute("class").split()
    return found


def passing(browser):
    """Returns what the page shows once every wanted service passes."""
    shown = rows(browser)
    return shown if all("passing" in shown.get(name, []) for name in given["services"]) else None


def main():
    options = webdriver.ChromeOptions()
    options.binary_location = program(
        "chromium", "google-chrome", packages="Debian: sudo apt-get install chromium; elsewhere Google Chrome does"
    )
    for flag in FLAGS.split():
        options.add_argument(flag)
    driver = Service(
        program("chromedriver", packages="Debian: sudo apt-get install chromium-driver; it has the browser's version")
    )
    with webdriver.Chrome(options=options, service=driver) as browser:
        browser.get(given["url"])
        try:
            shown = WebDriverWait(browser, PATIENCE, ignored_exceptions=CHANGES).until(passing)
        except TimeoutException:
            shown = rows(browser)
        browser.save_screenshot(given["screenshot"])
    json.dump(shown, sys.stdout)


main()
