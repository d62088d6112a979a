"""The gallery in a headless Chromium, on a desktop and on a phone, against the real service and real files."""

import json
import os
import shutil
import time
from dataclasses import replace

import pytest
from lettabox.studio.config import Box
from lettabox.studio.job import FAILED, QUEUED, RUNNING
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests import clips
from tests.browser import browser
from tests.unit.studio_service import TOKEN, MemoryJobs, Service

PATIENCE = 30  # seconds
HOSTILE = [
    "<script>window.hacked = true</script><img src=x onerror='window.hacked = true'>",
    "\"quotes\" 'single' `ticks` & &amp; </title></li>",
    "تنين أزرق فوق المدينة \u202e reversed",
    "A fox 🦊 in the snow ❄️ 👩‍👩‍👧‍👦",
    "first line\nsecond line\n\nfourth",
    "word " * 1999 + "tail ",
]
PLAIN = 8  # videos with plain prompts, besides
# Polling twenty times as fast; what is asked is counted.
HASTE = """
const later = window.setTimeout, ask = window.fetch;
window.setTimeout = (act, wait, ...rest) => later(act, wait / 20, ...rest);
window.asked = 0;
window.fetch = (...rest) => { window.asked += 1; return ask(...rest); };
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two boxes; the newest video comes first: eight plain ones, hostile prompts, one being written, one broken."""
    top = tmp_path_factory.mktemp("boxes")
    clip = clips.make(top / "clip.mp4", width=640, height=384, frames=73, detail=40.0, first=False, audio=True)
    for number in range(PLAIN + len(HOSTILE)):
        path = top / ("one", "two")[number % 2] / "video" / f"clip-{number:02}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(long(clip.read_bytes()) if number == 0 else clip.read_bytes())
        os.utime(path, (time.time() - 3600 * (number + 1),) * 2)
    half = top / "one" / "video" / "half.mp4"
    half.write_bytes(clip.read_bytes()[:20_000])
    broken = top / "two" / "video" / "broken.mp4"
    broken.write_bytes(b"\0" * 5000)
    os.utime(broken, (time.time() - 200 * 3600,) * 2)
    return {"one": Box(top / "one"), "two": Box(top / "two")}


def long(video):
    """An MP4 with 4 MB of nothing before its index, which is the last box."""
    place = video.rindex(b"moov") - 4
    return video[:place] + (1 << 22).to_bytes(4, "big") + b"free" + bytes((1 << 22) - 8) + video[place:]


@pytest.fixture
def jobs(folders):
    made = MemoryJobs()
    for number in range(PLAIN + len(HOSTILE)):
        box = ("one", "two")[number % 2]
        prompt = HOSTILE[number - PLAIN] if number >= PLAIN else f"plain prompt {number}"
        tags = ("even",) if number % 2 == 0 else ("odd", "night")
        made.completed(f"{box}/video/clip-{number:02}.mp4", prompt=prompt, tags=tags, seed_used=number, box=box)
    return made


@pytest.fixture
def service(folders, jobs):
    with Service(folders, jobs) as running:
        yield running


class Page:
    """What a person does and sees."""

    def __init__(self, driver, phone):
        self.driver, self.phone = driver, phone
        self.url = ""
        self.expected = []  # texts of console errors that belong to the test

    def open(self, url):
        self.url = url
        self.driver.get(f"{url}/")
        self.until("document.querySelectorAll('.card').length > 0 || !document.querySelector('#notice').hidden")

    def run(self, script, *arguments):
        return self.driver.execute_script(f"return {script}", *arguments)

    def until(self, script, *arguments):
        """Wait until the expression is true; return it."""
        wait = WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05)
        return wait.until(lambda _: self.run(script, *arguments), f"{script}\n{self.text('body')[:3000]}")

    def one(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def click(self, css, number=0):
        element = self.all(css)[number]
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def text(self, css):
        return self.run("document.querySelector(arguments[0])?.innerText ?? ''", css)

    def texts(self, css):
        """Of all elements, hidden ones too, character for character."""
        return self.run("[...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", css)

    def cards(self):
        """Prompts of the videos that are shown."""
        shown = "[...document.querySelectorAll('.card')].filter((card) => !card.hidden)"
        return self.run(f"{shown}.map((card) => card.querySelector('.prompt').textContent)")

    def type(self, css, text):
        field = self.one(css)
        field.clear()
        field.send_keys(text)

    def press(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    def sign_in(self, token=TOKEN):
        self.click("#sign")
        self.type("#token", token)
        self.one("#token").send_keys(Keys.ENTER)

    def requests(self, part):
        """(status, headers of the request) of what was asked since the last look, of addresses with `part` in them."""
        sent, found = {}, []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            told = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                sent[told["requestId"]] = told["request"]["headers"]
            elif message["method"] == "Network.responseReceived" and part in told["response"]["url"]:
                found.append((told["response"]["status"], sent.get(told["requestId"], {})))
        return found

    def leave(self):
        """Nothing went wrong that the test does not expect, no policy was violated, nothing is wider than the page."""
        bad = [one["message"] for one in self.driver.get_log("browser") if one["level"] != "DEBUG"]
        bad = [one for one in bad if not any(text in one for text in self.expected)]
        assert not bad
        assert self.run("window.hacked") is None
        assert self.run("document.documentElement.scrollWidth <= window.innerWidth")
        self.run("sessionStorage.clear()")
        self.driver.delete_all_cookies()
        self.driver.get("about:blank")


@pytest.fixture(scope="module")
def drivers():
    """{phone?: browser}, each started when it is first wanted."""
    kept, closing = {}, []

    def driver(phone):
        if phone not in kept:
            context = browser(390, 844, phone=True) if phone else browser(1280, 800)
            kept[phone] = context.__enter__()
            closing.append(context)
        return kept[phone]

    yield driver
    for context in closing:
        context.__exit__(None, None, None)


def page_of(drivers, phone):
    driver = drivers(phone)
    driver.get_log("browser")
    driver.get_log("performance")
    page = Page(driver, phone)
    yield page
    if driver.current_url != "about:blank":
        page.leave()


@pytest.fixture(params=[False, True], ids=["desktop", "phone"])
def page(drivers, service, request):  # the service ends after it
    yield from page_of(drivers, request.param)


@pytest.fixture
def desktop(drivers, service):
    yield from page_of(drivers, False)


def test_lists_what_there_is(page, service):
    page.open(service.url)
    page.until("document.querySelectorAll('.card').length === arguments[0]", PLAIN + len(HOSTILE) + 2)
    shown = page.cards()
    assert shown[0] == "half.mp4" and shown[-1] == "broken.mp4"
    assert shown[1 : 1 + PLAIN] == [f"plain prompt {number}" for number in range(PLAIN)]
    assert [one[:300] for one in shown[1 + PLAIN : -1]] == [text[:300] for text in HOSTILE]
    assert page.texts(".card.writing .poster .state") == ["being written…"]
    assert page.texts(".card.broken .poster .state")[0].startswith("cannot be played: ")
    assert not page.all(".card video, .card script, .card .prompt *")
    # A poster is drawn small, and only when it comes near.
    image = "document.querySelector('.card.whole img')"
    assert page.until(f"{image}.complete && {image}.naturalWidth") == 480
    assert set(page.run("[...document.querySelectorAll('.card img')].map((one) => one.loading)")) == {"lazy"}
    # Nothing of a video that is not whole can be played.
    page.click(".card.writing .open")
    assert not page.run("document.querySelector('#player').open")
    seen = "[...document.querySelectorAll('button, input, select, a')].filter((one) => one.checkVisibility())"
    assert all(page.run(f"{seen}.map((one) => one.textContent.trim() || one.ariaLabel || one.labels?.length)"))


def test_plays(page, service):
    page.open(service.url)
    page.click(".card.whole .open")
    assert page.until("document.querySelector('#video').currentTime > 0.1")
    assert page.run("document.querySelector('#video').error") is None
    assert page.text("#player-prompt") == "plain prompt 0"
    facts = dict(zip(page.texts("#facts dt"), page.texts("#facts dd span"), strict=True))
    assert facts["Size"] == "640 × 384" and facts["Frames"] == "73 at 24 fps" and facts["Sound"] == "yes"
    assert facts["Seed"] == "0" and facts["Job"] in service.jobs.made and facts["Path"] == "one/video/clip-00.mp4"
    page.run("document.querySelector('#video').currentTime = 2.5")
    page.run("document.querySelector('#video').pause()")
    assert page.until("!document.querySelector('#video').seeking && document.querySelector('#video').currentTime >= 2")
    asked = page.requests("/videos/")
    assert {status for status, _ in asked} == {206}
    # Its index is at the end: without ranges the whole file would come first.
    assert any(not headers["Range"].startswith("bytes=0-") for _, headers in asked)
    page.run("document.querySelector('#video').currentTime = 1")
    page.press(".")
    assert page.until("document.querySelector('#video').currentTime > 1.03")
    assert page.one("#download").get_attribute("href") == f"{service.url}/videos/one/video/clip-00.mp4"
    assert page.one("#download").get_attribute("download") == "clip-00.mp4"
    page.press(Keys.ARROW_RIGHT)
    assert page.text("#player-prompt") == "plain prompt 1"
    page.click("#following")
    assert page.text("#player-prompt") == "plain prompt 2"
    page.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert page.text("#player-prompt") == "plain prompt 0"
    page.press(Keys.ARROW_LEFT)  # the one before is being written
    assert page.text("#player-prompt") == "plain prompt 0"
    page.press(Keys.ESCAPE)
    assert page.until("!document.querySelector('#player').open")
    assert page.run("document.querySelector('#video').currentSrc === '' || document.querySelector('#video').paused")
    assert page.run("document.activeElement.className") == "open"


def test_the_whole_prompt_is_in_the_player_and_can_be_copied(desktop, service):
    desktop.open(service.url)
    for number, prompt in enumerate(HOSTILE):
        desktop.click(".card.whole .open", PLAIN + number)  # a real one: else Chromium's "back" leaves the page
        assert desktop.texts("#player-prompt") == [prompt]
        assert not desktop.all("#player-prompt *")
        if number == 0:
            desktop.click("#copy-prompt")
            desktop.until("document.querySelector('#copy-prompt').textContent === 'Copied'")
        desktop.driver.back()  # as a phone's own button
        desktop.until("!document.querySelector('#player').open")


def test_filters(desktop, service):
    desktop.open(service.url)
    everything = desktop.cards()
    Select(desktop.one("#filter-tag")).select_by_visible_text("night")
    desktop.until("document.querySelectorAll('.card').length === arguments[0]", (PLAIN + len(HOSTILE)) // 2)
    assert desktop.cards()[0] == "plain prompt 1"
    desktop.type("#filter-text", "PROMPT plain 3")
    desktop.until("[...document.querySelectorAll('.card')].filter((card) => !card.hidden).length === 1")
    assert desktop.cards() == ["plain prompt 3"]
    assert desktop.run("location.hash") == "#q=PROMPT+plain+3&tag=night"
    desktop.driver.refresh()
    desktop.until("document.querySelectorAll('.card').length > 0")
    assert desktop.cards() == ["plain prompt 3"]
    desktop.click("#filter-clear")
    desktop.until("document.querySelectorAll('.card').length === arguments[0]", len(everything))
    assert desktop.cards() == everything
    Select(desktop.one("#filter-box")).select_by_visible_text("two")
    desktop.until("document.querySelectorAll('.card').length === arguments[0]", len(everything) // 2)
    desktop.type("#filter-text", "nothing of the kind")
    assert desktop.until("document.querySelector('#empty').checkVisibility()")
    desktop.click("#filter-clear")
    desktop.until("document.querySelectorAll('.card').length === arguments[0]", len(everything))
    desktop.run("document.querySelectorAll('.card.whole .tags button')[0].click()")
    desktop.until("document.querySelectorAll('.card').length === arguments[0]", (PLAIN + len(HOSTILE)) // 2)
    assert desktop.one("#filter-tag").get_attribute("value") == "even"


def test_reads_further_pages_as_one_goes_down(desktop, service, folders, tmp_path):
    clip = clips.make(tmp_path / "small.mp4", frames=9)
    (tmp_path / "many").mkdir()
    for number in range(150):
        os.link(clip, tmp_path / "many" / f"{number}.mp4")
    with Service({"one": Box(tmp_path / "many")}, MemoryJobs()) as many:
        desktop.open(many.url)
        assert desktop.until("document.querySelectorAll('.card').length") == 60
        assert desktop.texts("#videos-count") == ["60+"]
        desktop.run("window.scrollTo(0, document.body.scrollHeight)")
        desktop.until("document.querySelectorAll('.card').length >= 120")
        desktop.run("window.scrollTo(0, document.body.scrollHeight)")
        desktop.until("document.querySelectorAll('.card').length === 150")
        assert len(set(desktop.cards())) == 150
        assert not desktop.one("#more").is_displayed()
        desktop.leave()


def test_signs_in_submits_and_cancels(page, service, jobs):
    page.expected = ["status of 401", "status of 422", "status of 400"]
    page.open(service.url)
    assert not page.one("#new").is_displayed()
    page.sign_in("not the token")
    page.until("document.querySelector('#token-error').textContent === \"That is not the studio's token.\"")
    page.type("#token", TOKEN)
    page.one("#token").send_keys(Keys.ENTER)
    page.until("document.querySelector('#new').checkVisibility()")
    assert TOKEN not in page.run("document.cookie") and TOKEN not in page.driver.page_source

    page.click("#new")
    page.click("#order-send")
    assert page.text("#order-prompt-error")
    page.type("#order-prompt", "A paper boat <b>& rain")
    page.type("#order-width", "500")
    page.type("#order-seed", "seven")
    page.click("#order-send")
    assert page.text("#order-seed-error")
    page.type("#order-seed", "7")
    page.click("#order-send")
    assert "multiple of 64" in page.until("document.querySelector('#order-width-error').textContent")
    assert page.run("document.activeElement.id") == "order-width"
    page.type("#order-width", "512")
    page.type("#order-tags", "Night boats")
    page.click("#order-send")
    page.until("document.querySelector('#order-tags-error').textContent")
    page.type("#order-tags", "night boats")
    page.click("#order-send")
    page.until("!document.querySelector('#order').open")
    (job,) = [one for one in jobs.made.values() if one.state == QUEUED]
    assert (job.prompt, job.seed, job.width, job.tags) == ("A paper boat <b>& rain", 7, 512, ("night", "boats"))
    page.until("document.querySelectorAll('.job').length === 1")
    assert page.texts(".job .prompt") == ["A paper boat <b>& rain"]
    assert "position 1" in page.text(".job .what")

    page.click(".job .cancel")
    assert jobs.made[job.id].state == QUEUED  # the first press only asks
    page.click(".job .cancel")
    page.until("document.querySelectorAll('.job').length === 0")
    assert jobs.made[job.id].state == "cancelled"
    page.click("#sign")
    assert not page.one("#new").is_displayed() and page.run("sessionStorage.length") == 0


def test_shows_how_far_jobs_are_and_why_they_failed(desktop, service, jobs):
    def job(prompt, **told):
        made = service.post("/jobs", {"prompt": prompt}).json["id"]
        jobs.made[made] = replace(jobs.made[made], **told)

    job("waits", position=2)
    job("waits first", position=1)
    told = {"state": RUNNING, "box": "one", "position": None, "attempts": 1}
    job("renders", started=time.time() - 30, expected=60.0, **told)
    job("is late", started=time.time() - 90, expected=60.0, **told | {"attempts": 2}, error="box two went away")
    why = "<b>out of memory</b>; ask for fewer frames"
    job("failed", state=FAILED, ended=time.time() - 60, error=why, box="one", position=None)
    job("failed long ago", state=FAILED, ended=time.time() - 3 * 86400, error=why, position=None)
    desktop.open(service.url)
    desktop.until("document.querySelectorAll('.job').length === 5")
    rows = dict(zip(desktop.texts(".job .prompt"), desktop.texts(".job .what"), strict=True))
    assert list(rows)[-3:] == ["waits first", "waits", "failed"]
    assert rows["waits"] == "position 2"
    assert "left (estimate)" in rows["renders"] and "on one" in rows["renders"]
    assert "longer than usual" in rows["is late"] and "attempt 2" in rows["is late"]
    bars = desktop.run("[...document.querySelectorAll('.job progress:not([hidden])')].map((one) => one.value)")
    assert sorted(bars)[0] == pytest.approx(0.5, abs=0.2) and sorted(bars)[1] == 0.98
    assert desktop.texts(".job.failed .error") == [why]
    assert desktop.text("#queue-count") == "2 rendering, 2 waiting"
    before = desktop.run("document.querySelectorAll('.job progress')[1].value")
    desktop.until("document.querySelectorAll('.job progress')[1].value > arguments[0]", before)


def test_says_that_the_queue_is_away_and_shows_the_videos(desktop, service, jobs):
    desktop.expected = ["status of 503"]
    jobs.away = True
    desktop.open(service.url)
    assert "queue cannot be shown" in desktop.until("document.querySelector('#queue-problem').textContent")
    assert len(desktop.cards()) == PLAIN + len(HOSTILE) + 2


def hurried(page):
    made = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HASTE})
    return lambda: page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", made)


def test_says_so_while_the_studio_is_away_and_finds_it_again(desktop, folders, jobs):
    desktop.expected = ["net::ERR_"]
    slow = hurried(desktop)
    try:
        with Service(folders, jobs) as first:
            desktop.open(first.url)
            desktop.click(".card.whole .open")
            desktop.press(Keys.ESCAPE)
        desktop.until("!document.querySelector('#notice').hidden")
        assert "does not answer" in desktop.text("#notice-text")
        assert len(desktop.cards()) > PLAIN  # what is known stays
        again = Service(folders, jobs)
        again.port = first.port
        with again:
            desktop.until("document.querySelector('#notice').hidden")
            desktop.leave()
    finally:
        slow()


def test_asks_nothing_while_nobody_looks(desktop, service):
    slow = hurried(desktop)
    try:
        desktop.open(service.url)
        begun = desktop.run("window.asked")
        desktop.until("window.asked > arguments[0]", begun)
        hide = "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true})"
        desktop.run(hide, True)
        # What was under way may end; then more than one of the longer pauses passes without a question.
        count = desktop.driver.execute_async_script(
            "const done = arguments[0], wait = window.setTimeout;"
            "wait(() => { const before = window.asked; wait(() => done(window.asked - before), 20000); }, 5000)"
        )
        assert count == 0
        begun = desktop.run("window.asked")
        desktop.run(hide, False)
        desktop.run("document.dispatchEvent(new Event('visibilitychange'))")
        desktop.until("window.asked > arguments[0]", begun)
    finally:
        slow()


def test_new_videos_come_and_deleted_ones_go(desktop, service, folders):
    slow = hurried(desktop)
    try:
        desktop.open(service.url)
        count = len(desktop.cards())
        first = folders["one"].folder / "video" / "clip-00.mp4"
        new = folders["two"].folder / "video" / "new.mp4"
        shutil.copyfile(first, new)
        desktop.until("document.querySelectorAll('.card').length === arguments[0]", count + 1)
        desktop.until("document.querySelector('.card .prompt').textContent === 'new.mp4'")
        new.unlink()
        desktop.until("document.querySelectorAll('.card').length === arguments[0]", count)
    finally:
        slow()


def test_reads_with_the_token_alone_where_that_is_wanted(desktop, folders, jobs):
    desktop.expected = ["status of 401"]
    with Service(folders, jobs, read_token=True) as service:
        desktop.open(service.url)
        assert not desktop.cards() and "token" in desktop.text("#notice-text")
        desktop.click("#notice-button")
        desktop.type("#token", TOKEN)
        desktop.one("#token").send_keys(Keys.ENTER)
        # Pictures and videos have no header, but the cookie.
        image = "document.querySelector('.card.whole img')"
        desktop.until(f"{image}?.complete && {image}.naturalWidth")
        desktop.click(".card.whole .open")
        desktop.until("document.querySelector('#video').currentTime > 0")
        desktop.press(Keys.ESCAPE)
        desktop.driver.refresh()
        desktop.until("document.querySelectorAll('.card').length > 0")
        assert desktop.one("#new").is_displayed()
        desktop.click("#sign")
        desktop.until("!document.querySelector('#new').offsetParent")
        desktop.until("document.querySelector('#notice-text').textContent.includes('token')")
        desktop.driver.refresh()
        assert not desktop.cards() and "token" in desktop.text("#notice-text")
        desktop.leave()


def test_a_token_that_is_not_good_any_more_is_dropped(desktop, service):
    desktop.expected = ["status of 401"]
    desktop.open(service.url)
    desktop.run("sessionStorage.setItem('token', 'an older one')")
    desktop.driver.refresh()
    desktop.until("document.querySelectorAll('.card').length > 0")
    assert desktop.run("sessionStorage.getItem('token')") is None and not desktop.one("#new").is_displayed()
