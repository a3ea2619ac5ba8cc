"""The embedding map in Chromium: what pointing at it and its keys show."""

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from dact_jax.reports.page import page
from dact_jax.reports.pictures import projections
from tests.labelling import browsing
from tests.reports.page import made


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_keys_and_pointers_show_images_and_colors_have_legends(tmp_path, monkeypatch):
    monkeypatch.setattr(projections, "t_sne", projections.pca)
    task = made.task(tmp_path)
    made.fill(tmp_path / "run", task)
    made.text(tmp_path / "run", made.run(task))
    with browsing.browser() as driver:
        driver.get(f"file://{tmp_path / 'run' / page.FILE}")
        dots = driver.find_element(By.ID, "map-dots")
        said = driver.find_element(By.ID, "map-text")
        picture = driver.find_element(By.ID, "map-image")
        assert not picture.is_displayed()
        driver.execute_script("arguments[0].focus()", dots)
        first = said.text
        assert "predicted" in first
        assert picture.is_displayed()
        seen = {first}
        for key in (Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_UP):
            dots.send_keys(key)
            seen.add(said.text)
        assert len(seen) >= 3
        dots.send_keys(Keys.ESCAPE)
        dot = driver.find_elements(By.CLASS_NAME, "dot")[7]
        ActionChains(driver).move_to_element(dot).perform()
        assert task.source.id[7] in said.text
        pixel = "arguments[0].getContext('2d').getImageData(64, 64, 1, 1)"
        assert driver.execute_script(f"return {pixel}.data[3]", picture) == 255
        legend = driver.find_element(By.ID, "map-legend")
        for way, words in {
            "class": ["cat (22)", "<i>dog</i> (22)"],
            "round": ["at the start (3)", "for round 1 (3)", "not picked (38)"],
            "right": [
                "right (12)",
                "wrong (6)",
                "right, trained on it (17)",
                "wrong, trained on it (9)",
            ],
            "domain": ["source (20)", "target (24)"],
        }.items():
            Select(driver.find_element(By.ID, "map-color")).select_by_value(way)
            assert legend.text.split("\n") == words
        Select(driver.find_element(By.ID, "map-only")).select_by_visible_text("cat")
        assert driver.find_elements(By.CLASS_NAME, "faint")
        assert driver.get_log("browser") == []  # no policy was violated
