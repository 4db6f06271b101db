"""The built site in a real browser: every page, its links, its pictures, its search.

It needs the site (``make docs``), the extra ``browser`` and Chromium; where Chromium is installed,
``make browser`` does the rest. Pictures of some pages are left in docs/_build/screenshots.
"""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "docs/_build/html"
PICTURES = ROOT / "docs/_build/screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SHOWN = (
    "index", "why", "conventions", "quickstart", "choosing", "exactness", "gallery/index",
    "gallery/plot_own_group", "add_your_own_group", "integral_transform", "config", "errors",
    "testing_kit", "results", "api/index", "api/generated/attention.LieTransformer",
)  # fmt: skip

api = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: pip install 'lie-attention[browser]'"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="needs the site: make docs"),
]


@pytest.fixture(scope="module")
def address():
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        # Containers give little shared memory, and root has no sandbox.
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield started
        started.close()


@pytest.fixture
def opened(browser, address):
    """A page of the browser, and what went wrong while it was open."""
    context = browser.new_context(viewport=DESKTOP)
    page, wrong = context.new_page(), []
    page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(  # A page that is left gives up what it was loading.
        "requestfailed",
        lambda request: (
            "ERR_ABORTED" in str(request.failure) or wrong.append(f"failed: {request.url}")
        ),
    )
    page.on(
        "request",
        lambda request: (
            request.url.startswith((address, "data:")) or wrong.append(f"elsewhere: {request.url}")
        ),
    )
    page.on(
        "response",
        lambda answer: answer.status < 400 or wrong.append(f"{answer.status}: {answer.url}"),
    )
    yield page, wrong
    context.close()


def pages():
    return [
        path.relative_to(SITE)
        for path in sorted(SITE.rglob("*.html"))
        if "_static" not in path.parts and "_modules" not in path.parts
    ]


def test_every_page_opens_whole_and_fits_a_phone(opened, address):
    page, wrong = opened
    ids, links, problems = {}, [], []
    for path in pages():
        url = f"{address}{path}"
        page.set_viewport_size(DESKTOP)
        page.goto(url)
        found = page.evaluate(
            """() => {
                for (const image of document.images) image.loading = "eager";
                const images = [...document.images];
                return Promise.all(images.map(image => image.decode().catch(() => {})))
                    .then(() => ({
                        title: document.title,
                        ids: [...document.querySelectorAll("[id]")].map(each => each.id),
                        links: [...document.querySelectorAll("a[href]")].map(each => each.href),
                        broken: [...document.images].filter(image => !image.naturalWidth)
                            .map(image => image.src),
                        unnamed: [...document.querySelectorAll("article img")]
                            .filter(image => !image.alt)
                            .filter(image => !image.closest(".sphx-glr-thumbcontainer"))
                            .map(image => image.src),
                    }));
            }"""
        )
        page.set_viewport_size(PHONE)
        width = page.evaluate("document.documentElement.scrollWidth")
        ids[url] = set(found["ids"])
        links += [(url, link) for link in found["links"] if link.startswith(address)]
        problems += [f"{path}: picture {source}" for source in found["broken"]]
        problems += [f"{path}: picture without words {source}" for source in found["unnamed"]]
        problems += [f"{path}: no title"] * (not found["title"])
        problems += [f"{path}: {width} pixels wide on a phone"] * (width > PHONE["width"])
        problems += [f"{path}: {text}" for text in wrong]
        wrong.clear()
    for origin, link in set(links):
        target, fragment = urldefrag(link)
        name = unquote(target.removeprefix(address).partition("?")[0]) or "index.html"
        if not (SITE / name).is_file():
            problems.append(f"{origin}: no file {name}")
        elif fragment and unquote(fragment) not in ids.get(urljoin(address, name), {fragment}):
            problems.append(f"{origin}: nothing called {fragment} in {name}")
    assert not problems, "\n".join(problems[:40])
    assert len(ids) > 100


@pytest.mark.parametrize(
    ("words", "page_found"),
    [("hyperbolic", "plot_own_group"), ("LieTransformer", "LieTransformer"), ("neighbors", "html")],
)
def test_the_search_finds(opened, address, words, page_found):
    page, wrong = opened
    page.goto(f"{address}index.html")
    page.fill(".sidebar-search", words)
    page.press(".sidebar-search", "Enter")
    page.wait_for_selector("#search-results ul.search li a", timeout=20_000)
    found = page.eval_on_selector_all("#search-results li a", "all => all.map(each => each.href)")
    assert any(page_found in link for link in found)
    page.click("#search-results ul.search li a")
    page.wait_for_load_state()
    assert words.lower() in page.inner_text("body").lower()
    assert not wrong


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser, address, scheme):
    context = browser.new_context(viewport=DESKTOP, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{address}conventions.html")
    text, ground = page.evaluate(
        """() => [getComputedStyle(document.querySelector("article p")).color,
                  getComputedStyle(document.body).backgroundColor]"""
    )
    assert contrast(text, ground) > 7  # WCAG AAA
    assert (luminance(ground) < 0.2) == (scheme == "dark")
    context.close()


def test_pictures_of_pages_are_left(browser, address):
    PICTURES.mkdir(parents=True, exist_ok=True)
    for scheme, size in (("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE)):
        context = browser.new_context(viewport=size, color_scheme=scheme)
        page = context.new_page()
        kind = "phone" if size is PHONE else scheme
        for name in SHOWN:
            page.goto(f"{address}{name}.html")
            path = PICTURES / f"{name.replace('/', '-')}-{kind}.png"
            page.screenshot(path=path)
            assert path.stat().st_size > 5000
        context.close()


def luminance(color):
    """Relative luminance of a color such as rgb(1, 2, 3), as WCAG 2 defines it."""
    parts = [float(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """Contrast of two colors, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
