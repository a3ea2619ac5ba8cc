"""The labelling page in a real browser: every answer by clicks and keys."""

import sys
import time

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from dact_jax.queries import query as queries
from dact_jax.rounds import answers
from tests.crash import faults
from tests.labelling import asking, browsing
from tests.labelling.browsing import Page

# The next round, of a run that fails once, then asks something, then is finished.
RUN = """
import pathlib, shutil, sys, time
folder = pathlib.Path(sys.argv[1])
count = len(list(folder.glob("started_*")))
(folder / f"started_{count}").touch()
print(f"start {count}", flush=True)
if count == 0:
    sys.exit("dact_jax: the disk is <b>full</b>.")
while not (folder / f"go_{count}").exists():
    time.sleep(0.01)
if count == 1:
    shutil.move(folder / "later", folder / "queries" / "round_04")
else:
    (folder / "report.html").write_text("<h1>The end</h1>")
"""


@pytest.fixture(scope="module")
def driver():
    with browsing.browser() as opened:
        yield opened


@pytest.fixture
def size(driver):
    """Sets the size of the window, and the scheme of its colors."""

    def set_size(width, height, *, scheme="light"):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", metrics | {"mobile": width < 500}
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    set_size(1100, 700)
    yield set_size
    set_size(1100, 700)


@pytest.fixture
def opened(driver, size, tmp_path):
    """Opens the page of a folder that asks something."""
    served = []

    def open_page(**asked):
        query = asking.write(tmp_path, **asked)
        serving = asking.served(tmp_path)
        client = serving.__enter__()
        served.append(serving)
        return query, client, Page(driver, client.url)

    yield open_page
    for serving in served:
        serving.__exit__(None, None, None)
    driver.get("about:blank")


def given(folder):
    """(label, skip) of every answer, in order."""
    return [(answer.label, answer.skip) for answer in answers.read(folder)]


def test_a_whole_campaign(driver, size, tmp_path):
    first = asking.write(tmp_path, count=7)
    later = asking.write(tmp_path, count=2, round=4)
    queries.place(tmp_path, 4).rename(tmp_path / "later")
    command = [sys.executable, "-S", "-c", RUN, str(tmp_path)]
    with asking.served(tmp_path, command=command, grace=0.3) as client:
        page = Page(driver, client.url)
        page.at(1)
        assert page.text("title") == "Label images · round 3"
        assert page.classes() == ["Grünfläche", "猫", "dog"]
        page.press("3")  # a key
        page.at(2)
        assert given(tmp_path) == [("dog", False)]
        assert page.classes() == ["猫", "Grünfläche", "dog"]  # the suggested one first
        page.click_text("猫")
        page.at(3)
        page.press(Keys.ENTER)  # the suggestion
        page.at(4)
        page.press("0")  # not sure
        page.at(5)
        page.press(Keys.DELETE)
        page.at(6)
        page.click("skip")
        page.at(7)
        page.press("1")
        page.at(4)  # comes again
        assert page.text("count") == "4 of 7 (6 answered, 1 not sure)"
        assert "Saved: Grünfläche" in page.text("saved")
        page.press("1")
        page.until_text("done-title", "The next round has failed")
        assert page.text("then") == "the disk is <b>full</b>."
        assert given(tmp_path) == [
            ("dog", False),
            ("猫", False),
            ("dog", False),
            ("", True),
            ("", True),
            ("Grünfläche", False),
            ("Grünfläche", False),
        ]
        assert [answer.id for answer in answers.read(tmp_path)] == [
            first.items[number].id for number in (0, 1, 2, 4, 5, 6, 3)
        ]
        page.click("start")
        page.until_text("done-title", "The next round is running")
        page.until_text("output", "start 1")
        (tmp_path / "go_1").touch()
        page.at(1)
        assert page.text("title") == "Label images · round 4"
        page.press("1")
        page.at(2)
        page.press("1")
        page.until_text("done-title", "The next round is running")
        (tmp_path / "go_2").touch()
        page.until_text("done-title", "The campaign is finished")
        assert page.text("where").endswith("report.html")
        assert [answer.id for answer in answers.read(tmp_path)][7:] == [
            item.id for item in later.items
        ]
        assert page.complaints() == []
        page.driver.find_element(By.LINK_TEXT, str(tmp_path / "report.html")).click()
        assert "<h1>The end</h1>" in page.driver.page_source


def test_back_and_choose_again(opened, tmp_path):
    query, _, page = opened()
    page.at(1)
    page.press("1")
    page.at(2)
    page.press("2")
    page.at(3)
    page.press(Keys.BACKSPACE)
    page.at(2)
    assert page.chosen() == ["猫"]
    page.press(Keys.ARROW_LEFT)
    page.at(1)
    page.press("2")  # another answer
    page.at(3)
    page.click("back")
    page.at(1)
    page.press("2")  # the same answer adds nothing
    page.at(3)
    page.press(Keys.ARROW_LEFT)
    page.at(1)
    page.press(Keys.DELETE)
    page.at(3)
    page.press("1")
    page.until_text("done-title", "All 3 images are answered")
    assert page.text("where") == "python -m x"
    page.click("review")
    page.at(3)
    page.press(Keys.ARROW_RIGHT)
    page.until_text("done-title", "All 3 images are answered")
    assert given(tmp_path) == [
        ("Grünfläche", False),
        ("猫", False),
        ("猫", False),
        ("", True),
        ("Grünfläche", False),
    ]
    counted = answers.latest(answers.read(tmp_path))
    assert counted[query.items[0].id].skip
    assert page.complaints() == []


def test_a_reload_loses_nothing(opened, tmp_path):
    _, _, page = opened(count=4)
    page.at(1)
    page.press("1")
    page.at(2)
    page.press("0")
    page.at(3)
    time.sleep(0.4)
    page.driver.refresh()
    page.at(3)
    page.press("2")
    page.at(4)
    page.press(Keys.BACKSPACE)
    page.at(3)
    page.press(Keys.BACKSPACE)
    page.at(2)
    page.driver.refresh()
    page.at(4)
    page.press("1")
    page.at(2)
    page.press("3")
    page.until_text("done-title", "All 4 images are answered")
    found = answers.read(tmp_path)
    assert [answer.label for answer in found] == [
        *("Grünfläche", "猫", "Grünfläche", "dog")
    ]
    assert found[1].seconds > 0.4  # before the reload counts


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO"])
def test_an_answer_that_the_disk_refuses_is_told_and_asked_again(
    opened, tmp_path, kind
):
    _, _, page = opened(count=2)
    page.at(1)
    page.press("1")
    page.at(2)
    with faults.layer(str(tmp_path), faults.Fault(kind, 3)):  # the write
        page.press("3")
        page.until_text("message", "Not saved: ")
        words = {"ENOSPC": "No space left on device", "EIO": "Input/output error"}
        assert page.text("message").endswith(f"labels.csv: {words[kind]}.")
        time.sleep(1.2)  # the page has looked again
        assert page.text("count").startswith("2 of 2")
        assert page.text("message").startswith("Not saved: ")
    assert given(tmp_path) == [("Grünfläche", False)]
    page.press("2")
    page.until_text("done-title", "All 2 images are answered")
    assert given(tmp_path) == [("Grünfläche", False), ("猫", False)]
    assert page.text("message") == ""


def test_two_windows_disagree_about_nothing(opened, tmp_path):
    _, client, one = opened(count=3)
    one.at(1)
    one.driver.switch_to.new_window("tab")
    two = Page(one.driver, client.url)
    two.at(1)
    one.switch()
    one.press("1")
    one.at(2)
    two.switch()
    two.press("3")  # at once, before this window has looked
    two.until_text("message", "answered in another window: Grünfläche")
    two.press("3")  # still not: it must be asked for
    time.sleep(0.1)
    assert given(tmp_path) == [("Grünfläche", False)]
    two.press(Keys.BACKSPACE, "3")
    two.at(2)
    assert given(tmp_path)[1:] == [("dog", False)]
    one.switch()
    one.press("2")
    one.at(3)
    two.switch()
    two.until_text("message", "answered in another window: 猫")  # without a key
    two.click_text("Keep it and go on")
    two.at(3)
    two.press("0")
    one.switch()
    one.until_text("count", "1 not sure")
    one.press("1")
    one.until_text("done-title", "All 3 images are answered")
    two.switch()
    two.until_text("message", "answered in another window: Grünfläche")
    two.press(Keys.ENTER)
    two.until_text("done-title", "All 3 images are answered")
    assert len(given(tmp_path)) == 4
    two.driver.close()
    one.switch()


def test_many_classes_are_searched(opened, tmp_path):
    names = ["Größe", "dog house", "hot dog", "class 7", "7 up", "長頸鹿", "Dog"]
    names += [f"thing {number}" for number in range(23)]
    _, _, page = opened(classes=tuple(names), count=5)
    page.at(1)
    page.press("/", *"grosse")
    page.until(lambda: page.classes() == ["Größe"], "it is found in plain letters")
    page.press(Keys.ENTER)
    page.at(2)
    page.press(*"dog")  # the focus has stayed in the search
    page.until(lambda: len(page.classes()) == 3, "three classes match")
    assert page.classes() == ["dog house", "Dog", "hot dog"]
    assert "Enter takes dog house" in page.text("matches")
    page.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER)
    page.at(3)
    page.press("7", Keys.ARROW_DOWN, Keys.ENTER)  # digits belong to names, too
    page.at(4)
    page.press(*"xyz")
    page.until_text("matches", "No class matches.")
    page.press(Keys.ENTER, Keys.ESCAPE)
    page.until(lambda: len(page.classes()) == 30, "Escape shows all classes")
    page.press("u")  # the 30th class: letters are keys again
    page.at(5)
    page.press("/", "頸")
    page.until(lambda: page.classes() == ["長頸鹿"], "a part in the middle is found")
    page.click_text("長頸鹿")
    page.until_text("done-title", "All 5 images are answered")
    assert [label for label, _ in given(tmp_path)] == [
        *("Größe", "hot dog", "class 7", "thing 22", "長頸鹿")
    ]


def test_with_more_classes_than_keys_letters_search(opened, tmp_path):
    names = tuple(f"{chr(97 + number % 26)}{number}" for number in range(345))
    _, _, page = opened(classes=names, count=2)
    page.at(1)
    page.press("z", "2", "5", "9")
    page.until(lambda: page.classes() == ["z259"], "the search finds it")
    page.press(Keys.ENTER)
    page.at(2)
    page.press(Keys.ESCAPE, "9")
    page.until_text("done-title", "All 2 images are answered")
    assert given(tmp_path) == [("z259", False), ("i8", False)]


def test_zoom(opened):
    _, _, page = opened()
    page.at(1)
    stage = page.driver.find_element(By.ID, "stage")

    def scale():
        script = "return document.getElementById('picture').style.transform"
        return float(page.driver.execute_script(script).split("scale(")[1][:-1])

    assert scale() == 1
    page.press("+", "+", "-")
    assert scale() == pytest.approx(1.4)
    page.press(Keys.ESCAPE)
    assert scale() == 1
    page.click("closer")
    page.click("closer")
    page.click("farther")
    assert scale() == pytest.approx(1.4)
    before = stage.find_element(By.ID, "picture").rect
    ActionChains(page.driver).drag_and_drop_by_offset(stage, 40, 25).perform()
    after = stage.find_element(By.ID, "picture").rect
    assert after["y"] - before["y"] == pytest.approx(25, abs=1)
    ActionChains(page.driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_UP).key_up(
        Keys.SHIFT
    ).perform()
    assert stage.find_element(By.ID, "picture").rect["y"] > after["y"]
    page.click("whole")
    ActionChains(page.driver).scroll_from_origin(_middle(stage), 0, -400).perform()
    page.until(lambda: scale() > 1.5, "the wheel zooms")
    page.press("1")
    page.at(2)
    assert scale() == 1


def _middle(element):
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    return ScrollOrigin.from_element(element)


def test_fingers_zoom(opened):
    _, _, page = opened()
    page.at(1)
    rect = page.driver.find_element(By.ID, "stage").rect
    x, y = rect["x"] + rect["width"] / 2, rect["y"] + rect["height"] / 2

    def touch(kind, *apart):
        points = [
            {"x": x + sign * distance, "y": y, "id": number}
            for distance in apart
            for number, sign in enumerate((-1, 1))
        ]
        event = {"type": f"touch{kind}", "touchPoints": points}
        page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", event)

    touch("Start", 40)
    for distance in (60, 90, 120):
        touch("Move", distance)
    touch("End")
    script = "return document.getElementById('picture').style.transform"
    found = page.driver.execute_script(script)
    assert float(found.split("scale(")[1][:-1]) == pytest.approx(3, rel=0.1)


def test_a_tap_answers(opened, size, tmp_path):
    size(360, 740)
    _, _, page = opened()
    page.at(1)
    rect = page.driver.find_element(By.CSS_SELECTOR, "[data-name=dog]").rect
    point = {"x": rect["x"] + 20, "y": rect["y"] + 20}
    for kind, points in (("Start", [point]), ("End", [])):
        event = {"type": f"touch{kind}", "touchPoints": points}
        page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", event)
    page.at(2)
    assert given(tmp_path) == [("dog", False)]


def test_a_hidden_window_does_not_count(opened, tmp_path):
    began = time.monotonic()
    _, _, page = opened()
    page.at(1)
    hide = (
        "Object.defineProperty(document, 'hidden', {value: arguments[0], "
        "configurable: true}); document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.driver.execute_script(hide, True)
    time.sleep(0.8)
    page.driver.execute_script(hide, False)
    time.sleep(0.2)
    page.press("1")
    page.at(2)
    (answer,) = answers.read(tmp_path)
    assert 0.2 <= answer.seconds < time.monotonic() - began - 0.7


def test_an_image_that_has_vanished_is_told(opened, tmp_path):
    query, _, page = opened(count=2)
    page.at(1)
    (tmp_path / "images" / query.items[0].id).unlink()
    page.press("1")
    page.until_text("message", "has vanished since the query was made")
    assert "<b>" in page.text("message")  # of the file's name: shown, not run
    page.driver.refresh()
    page.until_text("reason", "has vanished since the query was made")
    page.press(Keys.DELETE)
    page.at(2)
    assert given(tmp_path) == [("", True)]


def test_an_image_is_answered_only_once_it_is_seen(opened, tmp_path):
    _, _, page = opened()
    page.at(1)
    page.driver.execute_script(
        "HTMLImageElement.prototype.decode = () => new Promise((r) => {go = r;})"
    )
    page.press("1")
    page.until_text("count", "2 of 3")
    page.press("1", Keys.ENTER, Keys.DELETE, "0")
    page.click_text("dog")
    time.sleep(0.1)
    assert given(tmp_path) == [("Grünfläche", False)]
    assert page.driver.execute_script("return typeof go") == "function"
    page.driver.execute_script("go()")
    page.at(2)
    page.press("3")
    page.until_text("count", "3 of 3 (2 answered)")
    assert given(tmp_path)[1:] == [("dog", False)]


def test_a_damaged_table_of_answers_is_told_until_it_is_restored(opened, tmp_path):
    _, _, page = opened()
    page.at(1)
    page.press("1")
    page.at(2)
    table = tmp_path / answers.FILE
    whole = table.read_bytes()
    table.write_text("x\ny\n")
    page.until_text("message", "labels.csv must begin with")
    page.press("1")
    page.until_text("message", "labels.csv must begin with")
    table.write_bytes(whole)
    page.until(lambda: not page.text("message"), "it is read again")
    page.press("1")
    page.at(3)
    assert len(given(tmp_path)) == 2


def test_a_run_that_has_asked_nothing_yet(driver, size, tmp_path):
    asking.write(tmp_path, count=1, round=4)
    queries.place(tmp_path, 4).rename(tmp_path / "later")
    (tmp_path / "started_0").touch()
    command = [sys.executable, "-S", "-c", RUN, str(tmp_path)]
    with asking.served(tmp_path, command=command, grace=0.5) as client:
        page = Page(driver, client.url)
        page.until_text("done-title", "There is no question yet")
        client.trainer.arm()
        page.until_text("done-title", "The next round is running")
        (tmp_path / "go_1").touch()
        page.at(1)
        driver.get("about:blank")


def test_the_page_waits_for_its_program(driver, size, tmp_path):
    asking.write(tmp_path)
    with asking.served(tmp_path) as client:
        page = Page(driver, client.url)
        page.at(1)
        page.press("1")
        page.at(2)
    page.until_text("message", "does not answer")
    page.press("2")
    assert given(tmp_path) == [("Grünfläche", False)]
    with asking.served(tmp_path, port=client.port):
        page.until(lambda: not page.text("message"), "it goes on")
        page.press("2")
        page.at(3)
    assert given(tmp_path) == [("Grünfläche", False), ("猫", False)]
    driver.get("about:blank")


LONG = (
    "a very long name of a class from an ontology, with-a-part-that-cannot-be-broken_"
)


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("count", [2, 345])
def test_every_width_and_number_of_classes_fits(opened, size, width, count):
    names = tuple(f"{LONG * (1 + number % 2)}{number}" for number in range(count))
    size(width, 740, scheme="dark")
    _, _, page = opened(classes=names, count=1)
    page.at(1)
    script = "return document.documentElement.scrollWidth"
    assert page.driver.execute_script(script) <= width
    for name in ("back", "unsure", "skip", "next"):
        rect = page.driver.find_element(By.ID, name).rect
        assert rect["y"] + rect["height"] <= 740, name
        assert rect["x"] + rect["width"] <= width, name
        assert rect["height"] >= 40, name
    suggested = page.driver.find_element(By.CSS_SELECTOR, "#suggested button")
    assert _is_on_top(page.driver, suggested)  # nothing covers it
    picture = page.driver.find_element(By.ID, "picture").rect
    assert min(picture["width"], picture["height"]) > 250


def _is_on_top(driver, element):
    script = """
    const box = arguments[0].getBoundingClientRect();
    return [[box.left + 5, box.top + 5], [box.right - 5, box.bottom - 5]].every(
      ([x, y]) => arguments[0].contains(document.elementFromPoint(x, y)));"""
    return driver.execute_script(script, element)


def _contrast(driver, selector):
    """The ratio of WCAG 2 between a text and what is behind it."""
    script = """
    const element = document.querySelector(arguments[0]);
    const color = (text) => text.match(/[\\d.]+/g).map(Number);
    let behind = element;
    while (behind && color(getComputedStyle(behind).backgroundColor)[3] === 0)
      behind = behind.parentElement;
    const back = getComputedStyle(behind || document.body).backgroundColor;
    return [color(getComputedStyle(element).color), color(back)];"""

    def light(color):
        linear = [
            value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4
            for value in (channel / 255 for channel in color[:3])
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(light, driver.execute_script(script, selector)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read(opened, size, scheme):
    size(1100, 700, scheme=scheme)
    _, _, page = opened()
    page.at(1)
    seen = (
        "#count",
        "#caption",
        "#suggested .name",
        "#suggested .sure",
        "#classes kbd",
    )
    for selector in (*seen, "#back", "summary", "h2"):
        assert _contrast(page.driver, selector) >= 4.5, selector


def test_a_reader_is_told_what_is_there(opened):
    _, _, page = opened()
    page.at(1)
    script = "return document.getElementById('live').textContent"
    assert "Image 1 of 3. Suggested: Grünfläche 75 percent." in (
        page.driver.execute_script(script)
    )
    picture = page.driver.find_element(By.ID, "picture")
    assert picture.get_dom_attribute("alt") == "Image to label: 3-<b>ü&0.png"
    assert page.driver.switch_to.active_element.accessible_name.startswith(
        "Image 1 of 3"
    )
    for button in page.driver.find_elements(By.CSS_SELECTOR, "button, input, summary"):
        if button.is_displayed():
            assert button.accessible_name, button.get_dom_attribute("id")
    names = [
        b.accessible_name for b in page.driver.find_elements(By.TAG_NAME, "button")
    ]
    assert "Grünfläche 75 %" in names  # the key is no part of the name
    page.press("1")
    page.at(2)
    assert "Saved: Grünfläche. Image 2 of 3." in page.driver.execute_script(script)


def test_all_is_reached_by_tab_and_seen(opened, tmp_path):
    _, _, page = opened()
    page.at(1)
    reached = []
    for _ in range(14):
        page.press(Keys.TAB)
        focused = page.driver.switch_to.active_element
        if focused.tag_name == "body":
            break
        reached.append(focused.accessible_name)
        assert focused.value_of_css_property("outline-style") == "solid"
        assert focused.value_of_css_property("outline-width") == "3px"
    wanted = {"Grünfläche 75 %", "猫", "dog", "Back", "Not sure", "Skip for good"}
    assert wanted <= {*reached}, reached
    page.driver.find_element(By.ID, "stage").send_keys("")
    while page.driver.switch_to.active_element.accessible_name != "dog":
        page.press(Keys.TAB)
    page.press(Keys.SPACE)
    page.at(2)
    assert given(tmp_path) == [("dog", False)]


def test_keys_may_be_turned_off(opened, tmp_path):
    _, _, page = opened()
    page.at(1)
    page.driver.find_element(By.TAG_NAME, "summary").click()
    page.click("shortcuts")
    page.driver.find_element(By.ID, "stage").send_keys("1")
    time.sleep(0.1)
    assert given(tmp_path) == []
    page.click_text("dog")
    page.at(2)
    page.click("shortcuts")
    page.driver.find_element(By.ID, "stage").send_keys("1")
    page.at(3)
