"""report.html in a real browser: it opens offline, asks for nothing, complains of nothing, and fits a phone."""

import os
import shutil
import socket
import subprocess
import threading

import pytest

from inspection.report import render_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HOSTILE = (
    "<script>document.title='owned';fetch('http://canary.test/fetched')</script>",
    '"><img src=http://canary.test/image onerror="document.title=\'owned\'">',
    "</style></title><link rel=stylesheet href=http://canary.test/sheet>",
    "\u202egpj.exe",
    "a" * 300 + ".example",
)
LOUD = "<title>loud</title><img src='http://canary.test/image'><script>console.error('heard')</script>"
MEASURE = """<!doctype html><iframe src="report.html" style="border:0;width:{width}px;height:900px"></iframe>
<script>onload = () => {{
  const page = document.querySelector("iframe").contentDocument.documentElement;
  document.title = page.scrollWidth <= page.clientWidth ? "fits" : page.scrollWidth + " in " + page.clientWidth;
}}</script>"""


@pytest.fixture(scope="module")
def browser():
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser here; install one of {', '.join(BROWSERS)}")
    return found


@pytest.fixture
def canary():
    """A proxy on loopback that all requests of the browser go to: it answers none and remembers what they ask for."""
    heard = []
    listener = socket.create_server(("127.0.0.1", 0))

    def listen():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                try:
                    heard.append(connection.recv(4_096).split(b"\r\n")[0].decode("ascii", "replace"))
                except TimeoutError:
                    heard.append("nothing")

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield listener.getsockname()[1], heard
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(timeout=5)


def open_page(browser, path, port, profile, *extra):
    """The page's DOM after it has settled, and what the browser said on its console."""
    command = [
        browser, "--headless", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--no-first-run", f"--user-data-dir={profile}", f"--proxy-server=http://127.0.0.1:{port}",
        "--proxy-bypass-list=<-loopback>", "--enable-logging=stderr", "--virtual-time-budget=3000", *extra,
        "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    if os.geteuid() == 0:
        command.insert(1, "--no-sandbox")  # the browser refuses to run as root with one
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@pytest.fixture
def hostile_report(little_run, tmp_path):
    """A report whose every name is an attack."""
    manifest = little_run.manifest
    statistics = manifest.statistics | {
        "domains": {"distinct": 5, "top": [[name, 9] for name in HOSTILE]},
        "languages": dict.fromkeys(HOSTILE, 3),
        "duplicates": dict.fromkeys(HOSTILE, 2),
    }
    inputs = tuple(manifest.inputs[0]._replace(name=name) for name in HOSTILE)
    books = manifest.books._replace(rejected=dict.fromkeys(HOSTILE, 3))
    settings = {**manifest.settings, **{name: name for name in HOSTILE}}
    hostile = manifest._replace(statistics=statistics, inputs=inputs, books=books, settings=settings)
    path = tmp_path / "page" / "report.html"
    path.parent.mkdir()
    path.write_text(render_report(hostile, reasons=dict.fromkeys(HOSTILE, HOSTILE[0])), encoding="utf-8")
    return path


def test_the_report_opens_offline_runs_nothing_and_asks_for_nothing(browser, canary, hostile_report, tmp_path):
    port, heard = canary
    dom, console = open_page(browser, hostile_report, port, tmp_path / "profile")
    assert "<title>little: report of a run</title>" in dom
    assert "&lt;script&gt;document.title" in dom
    assert console == []
    assert [line for line in heard if "canary.test" in line] == []


def test_a_page_that_does_load_and_complain_is_noticed(browser, canary, tmp_path):
    port, heard = canary
    path = tmp_path / "loud.html"
    path.write_text(LOUD)
    _, console = open_page(browser, path, port, tmp_path / "profile")
    assert any("heard" in line for line in console)
    assert any("canary.test/image" in line for line in heard)


@pytest.mark.parametrize("width", [360, 400, 1280])
def test_the_report_is_no_wider_than_the_window(browser, canary, hostile_report, tmp_path, width):
    measure = hostile_report.parent / "measure.html"
    measure.write_text(MEASURE.format(width=width))
    dom, _ = open_page(browser, measure, canary[0], tmp_path / "profile", "--allow-file-access-from-files")
    assert "<title>fits</title>" in dom
