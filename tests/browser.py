"""A headless Chromium for tests of the gallery: Debian's own, installed where it is missing and root may."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from unittest.mock import patch

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tests.lab.engine import apt_install
from tests.lab.report import step

# Nothing leaves this machine: what Chromium does of its own accord is off. Frames are drawn without a GPU.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-proxy-server",
    "--autoplay-policy=no-user-gesture-required",
)

LOCK = Path(gettempdir()) / "lettabox-browser.lock"


def ensure() -> tuple[str, str]:
    """Return the paths of chromium and chromedriver. Raises LabError where they are missing and cannot be had."""
    # The tests run in several processes, and apt-get in one.
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shutil.which("chromium") and shutil.which("chromedriver")):
            with step("install a headless Chromium"):
                apt_install("chromium", "chromium-driver", "fonts-dejavu-core")
    return shutil.which("chromium"), shutil.which("chromedriver")


@contextmanager
def browser(width: int, height: int, *, phone: bool = False) -> Iterator[webdriver.Chrome]:
    """A browser with an empty profile and a page of this size; its console is read by `get_log("browser")`."""
    chromium, driver = ensure()
    # Selenium would ask a proxy of the environment for its own driver on loopback, and a server for its statistics.
    direct = ",".join(filter(None, (os.environ.get("no_proxy"), os.environ.get("NO_PROXY"), "127.0.0.1,localhost")))
    with (
        patch.dict(os.environ, {"NO_PROXY": direct, "no_proxy": direct, "SE_AVOID_STATS": "true"}),
        TemporaryDirectory(prefix="lettabox-browser-") as profile,
    ):
        options = Options()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={Path(profile) / 'profile'}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        if phone:
            metrics = {"width": width, "height": height, "pixelRatio": 2.0, "touch": True, "mobile": True}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        running = webdriver.Chrome(options=options, service=Service(driver))
        try:
            if not phone:
                # The window's frame is not the page's.
                running.execute_cdp_cmd(
                    "Emulation.setDeviceMetricsOverride",
                    {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
                )
            yield running
        finally:
            running.quit()
