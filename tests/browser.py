# SPDX-License-Identifier: Apache-2.0
"""Pages seen as people see them: Chromium without a window, at a width, in light or dark."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

AXE = "axe-core@4.14.1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "splitc-tests"
_HEIGHT = 900
_LOGS = ("browser", "performance")


@dataclass(frozen=True)
class Browser:
    """A browser with one page open.

    Args:
        driver: What drives it.
    """

    driver: Any

    def open(self, page: Path, *, width: int, dark: bool = False) -> None:
        """Load a file at a width in CSS pixels, in a colour scheme.

        What an earlier page says late, or said after it was last asked, is forgotten: the
        browser has one console for all pages.
        """
        self.driver.get("about:blank")
        for kind in _LOGS:
            self.driver.get_log(kind)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._tell("Emulation.setEmulatedMedia", features=[scheme])
        self._tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=_HEIGHT,
            deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        self.driver.get(page.resolve().as_uri())

    def errors(self) -> list[str]:
        """What the console complained of since the page was opened or it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def fetched(self) -> list[str]:
        """What the page asked for beside itself since this was last asked."""
        told = [json.loads(entry["message"])["message"] for entry in
                self.driver.get_log("performance")]  # fmt: skip
        sent = [one["params"] for one in told if one["method"] == "Network.requestWillBeSent"]
        here = self.driver.current_url
        mine = [one for one in sent if one["documentURL"] == here]
        return [one["request"]["url"] for one in mine if one.get("type") != "Document"]

    def overflow(self) -> list[str]:
        """What is wider than the window and does not scroll by itself, as tags and text."""
        return cast("list[str]", self.driver.execute_script(_OVERFLOW))

    def axe(self) -> list[str]:
        """What axe-core finds that is serious or critical: rule, and where."""
        self.driver.execute_script(axe_core().read_text("utf-8"))
        found = self.driver.execute_async_script(_AXE)
        return [f"{one['id']}: {', '.join(one['at'])}" for one in found]

    def tab_stops(self) -> set[str]:
        """What one comes by with the tab key alone, as paths of tags."""
        return {*cast("list[str]", self.driver.execute_script(_FOCUS + "return order()"))}

    def press_tab(self, times: int) -> list[str]:
        """What has the focus after each press of the tab key, as paths of tags."""
        found: list[str] = []
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self._tell("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab",
                           windowsVirtualKeyCode=9)  # fmt: skip
            found.append(self.driver.execute_script(_FOCUS + "return at(document.activeElement)"))
        return found

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        taken = self._tell("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def _tell(self, command: str, **options: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, options)


@contextlib.contextmanager
def browser() -> Generator[Browser]:
    """A browser; the test is skipped where Chromium or its driver is not installed."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("Chromium and its driver are not installed")
    options = ChromeOptions()
    options.binary_location = chromium
    with tempfile.TemporaryDirectory() as profile:
        for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--hide-scrollbars", f"--user-data-dir={profile}"):  # fmt: skip
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", dict.fromkeys(_LOGS, "ALL"))
        chrome = Chrome(options, Service(driver))
        try:
            chrome.set_script_timeout(60)
            yield Browser(chrome)
        finally:
            chrome.quit()


def axe_core() -> Path:
    """The checker's script, got by npm once; the test is skipped where it cannot be had."""
    known = CACHE / f"{AXE.replace('@', '-')}.min.js"
    if known.is_file():
        return known
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, which gets axe-core")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        done = subprocess.run(
            ["npm", "pack", AXE], cwd=folder, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"npm cannot get axe-core: {done.stderr[-300:]}")
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            script = archive.extractfile("package/axe.min.js")
            assert script is not None
            beside = Path(folder) / "axe.min.js"
            beside.write_bytes(script.read())
        beside.replace(known)
    return known


_OVERFLOW = """
const wide = document.documentElement.clientWidth;
const scrolls = each => {
  for (let up = each.parentElement; up; up = up.parentElement)
    if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(up).overflowX)) return true;
  return false;
};
const found = [...document.body.querySelectorAll('*')].filter(each => {
  const box = each.getBoundingClientRect();
  return box.width > 0 && (box.right > wide + 1 || box.left < -1) && !scrolls(each)
    && !each.matches('.skip');
}).map(each => `${each.tagName} ${each.className.baseVal ?? each.className} `
  + (each.textContent || '').trim().slice(0, 40));
if (document.documentElement.scrollWidth > wide) found.push(
  `the page is ${document.documentElement.scrollWidth} wide, the window ${wide}`);
return found;
"""
_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations']}).then(found => done(found.violations
  .filter(one => ['serious', 'critical'].includes(one.impact))
  .map(one => ({id: one.id, at: one.nodes.map(node => node.target.join(' ') + ' '
    + (node.any[0]?.message ?? ''))}))));
"""
_FOCUS = """
const at = each => { const path = [];
  for (let up = each; up && up !== document.documentElement; up = up.parentElement)
    path.unshift(up.tagName + [...(up.parentElement?.children ?? [])].indexOf(up));
  return path.join('/'); };
const order = () => [...document.querySelectorAll('a[href], summary, [tabindex="0"]')]
  .filter(each => each.checkVisibility()).map(at);
"""
