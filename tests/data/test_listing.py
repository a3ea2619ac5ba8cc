"""Folders as people have them: links, loops, pipes, junk, other endings, levels."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, features

from dact_jax import errors
from dact_jax.data import fingerprint
from dact_jax.data.readers import decoding, folder, opening, sources
from dact_jax.types import UNLABELED


def save(path, seed=0, format=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), np.uint8)
    Image.fromarray(noise).save(path, format=format)


@pytest.fixture
def domain(tmp_path):
    """b/{cat,dog}, two images each."""
    for seed, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")):
        save(tmp_path / "b" / name, seed)
    return tmp_path / "b"


PLAIN = ["b/cat/1.png", "b/cat/2.png", "b/dog/1.png", "b/dog/2.png"]


def read(domain, **options):
    return folder.load(domain.parent, "b", size=4, **options)


def reasons(data):
    return {file.path: file.reason for file in data.left_out}


def test_a_plain_folder_keeps_its_order_and_fingerprint(domain):
    data = read(domain)
    assert data.id.tolist() == PLAIN
    assert data.left_out == ()
    assert data.split is None
    digest = hashlib.sha256("\n".join(["cat", "dog", *PLAIN]).encode())
    digest.update(np.array([0, 0, 1, 1], np.int32).tobytes() + b"(4, 4, 4, 3)")
    for path in PLAIN:
        content = (domain.parent / path).read_bytes()
        digest.update(str(len(content)).encode() + content)
    assert fingerprint.of(data) == f"sha256:{digest.hexdigest()}"


def test_a_pipe_is_never_waited_for(domain, monkeypatch):
    os.mkfifo(domain / "cat" / "3.png")
    os.mkfifo(domain / "cat" / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(domain)  # the path of a socket must be short
        listening.bind("socket")
    with pytest.raises(errors.InputError, match=r"b/cat/3\.png .*named pipe"):
        read(domain)
    data = read(domain, on_error="skip")
    assert data.id.tolist() == PLAIN
    assert reasons(data) == {
        "b/cat/3.png": "it is a named pipe, not a file",
        "b/cat/pipe": "it is a named pipe, not a file",
        "b/socket": "it is a socket, not a file",
    }
    assert [file.path for file in data.left_out if file.damaged] == ["b/cat/3.png"]


def test_each_real_folder_is_read_once(domain):
    (domain / "dog" / "again").symlink_to(domain)
    (domain / "dog" / "up").symlink_to(domain.parent)
    (domain / "aaa").symlink_to(domain / "cat")
    (domain / "dog" / "itself").symlink_to("itself")
    data = read(domain)
    assert data.id.tolist() == PLAIN
    assert data.class_names == ("cat", "dog")
    assert reasons(data) == {
        "b/aaa": "it is the same folder as b/cat",
        "b/dog/again": "it is the same folder as b",
        "b/dog/itself": "Too many levels of symbolic links",
        "b/dog/up": "it is a link to a folder that holds the domain itself",
    }


def test_a_link_to_the_folder_that_links_to_the_domain(domain, tmp_path):
    domain.rename(tmp_path / "store")
    save(tmp_path / "home" / "a" / "1.png", 9)
    (tmp_path / "home" / "b").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "dog" / "up").symlink_to(tmp_path / "home")
    data = folder.load(tmp_path / "home", "b", size=4)
    assert data.id.tolist() == PLAIN
    assert "holds the domain itself" in reasons(data)["b/dog/up"]


def test_folders_elsewhere_are_followed_once(domain, tmp_path):
    save(tmp_path / "store" / "1.png", 7)
    (tmp_path / "store" / "back").symlink_to(tmp_path / "store")
    (domain / "emu").symlink_to(tmp_path / "store")
    (domain / "fox").symlink_to(tmp_path / "store")
    data = read(domain)
    assert data.id.tolist() == [*PLAIN, "b/emu/1.png"]
    assert set(reasons(data)) == {"b/emu/back", "b/fox"}


@pytest.mark.parametrize("link", ["hardlink_to", "symlink_to"])
def test_each_real_file_is_taken_once(domain, link):
    getattr(domain / "cat" / "0.png", link)(domain / "cat" / "2.png")
    data = read(domain)
    kept, other = "b/cat/2.png", "b/cat/0.png"
    if link == "hardlink_to":  # neither name is more real: the first
        kept, other = other, kept
    assert data.id.tolist() == sorted({*PLAIN, kept} - {other})
    assert reasons(data) == {other: f"it is the same file as {kept}"}


def test_a_name_with_a_label_is_taken_before_one_without(domain):
    (domain / "1.png").hardlink_to(domain / "cat" / "1.png")
    data = read(domain)
    assert data.id.tolist() == PLAIN
    assert set(reasons(data)) == {"b/1.png"}


def test_one_file_cannot_have_two_labels(domain):
    (domain / "dog" / "3.png").hardlink_to(domain / "cat" / "1.png")
    with pytest.raises(errors.InputError, match=r"b/dog/3\.png .*b/cat/1\.png.*label"):
        read(domain)
    assert read(domain, on_error="skip").id.tolist() == PLAIN


def test_one_file_cannot_be_in_two_parts_of_a_split(domain):
    (domain / "cat" / "3.png").hardlink_to(domain / "cat" / "1.png")
    rows = "path,label,split\ncat/1.png,cat,train\ncat/3.png,cat,test\n"
    (domain / "b.csv").write_text(rows)
    with pytest.raises(errors.InputError, match=r"cat/3\.png .*cat/1\.png.*split"):
        sources.load(str(domain / "b.csv"), size=4, channels=3)


def test_what_pillow_reads_is_read_and_the_rest_is_named(domain):
    written = {"tif": "TIFF", "TIFF": "TIFF", "ppm": "PPM", "jfif": "JPEG"}
    if features.check("avif"):
        written["avif"] = "AVIF"
    if features.check("jpg_2000"):
        written["jp2"] = "JPEG2000"
    for seed, (ending, format) in enumerate(written.items(), 10):
        save(domain / "cat" / f"x.{ending}", seed, format)
    save(domain / "cat" / "IMG0001", 20, "JPEG")  # no ending
    for name in ("photo.heic", "a.txt", "README", "film.mpg", "b.eps", "P3 is a text"):
        (domain / "dog" / name).write_text(name)
    data = read(domain)
    images = {f"b/cat/x.{ending}" for ending in written} | {"b/cat/IMG0001"}
    assert set(data.id) == {*PLAIN, *images}
    assert data.image[:].shape == (4 + len(images), 4, 4, 3)
    said = reasons(data)
    assert len(said) == 6
    assert ".heic" in said["b/dog/photo.heic"]
    assert "no image" in said["b/dog/README"]


def test_what_systems_leave_behind_is_passed_over(domain):
    for name in ("@eaDir/x/1.png", "cat/@eaDir/1.png", "__MACOSX/._1.png", ".cache/1"):
        path = domain / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, 5, "PNG")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._1.png"):
        (domain / "cat" / name).write_bytes(b"\0")
    data = read(domain)
    assert data.id.tolist() == PLAIN
    assert data.left_out == ()


def test_names_that_are_not_utf8(domain):
    odd = os.fsdecode(b"caf\xe9")
    (domain / "cat").rename(domain / odd)
    data = read(domain)
    assert data.class_names == (odd, "dog")
    assert os.fsencode(data.id[0]) == b"b/caf\xe9/1.png"
    assert data.image[:].shape == (4, 4, 4, 3)
    assert fingerprint.of(data) != fingerprint.of(data._replace(class_names=("a", "b")))


def test_classes_one_level_deeper(domain, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "more").mkdir()
    domain.rename(tmp_path / "c" / "more" / "images")
    (tmp_path / "c").rename(domain)
    data = read(domain)
    assert data.class_names == ("cat", "dog")
    assert data.id[0] == "b/more/images/cat/1.png"
    assert data.notes == ("The classes of b are in b/more/images.",)
    save(domain / "more" / "images" / "3.png", 9)
    assert read(domain).label.tolist() == [UNLABELED, 0, 0, 1, 1]
    save(domain / "3.png", 10)  # now the domain's own folder holds images
    assert read(domain).class_names == ("more",)


def test_a_class_with_one_subfolder_stays_a_class(domain):
    (domain / "dog").rename(domain.parent / "dog")
    (domain / "cat").rename(domain.parent / "inner")
    (domain / "cat").mkdir()
    (domain.parent / "inner").rename(domain / "cat" / "inner")
    assert read(domain).class_names == ("cat",)


def test_parts_of_a_split(domain):
    (domain / "Train").mkdir()
    for name in ("cat", "dog"):
        (domain / name).rename(domain / "Train" / name)
        save(domain / "valid" / name / "1.png", 11 if name == "cat" else 12)
    data = read(domain)
    assert data.class_names == ("cat", "dog")
    assert data.split.tolist() == ["train"] * 4 + ["val"] * 2
    assert data.notes == ("The folders in b are taken as the parts of its split.",)
    assert data.label.tolist() == [0, 0, 1, 1, 0, 1]
    save(domain / "extra" / "cat" / "1.png", 13)
    with pytest.raises(errors.InputError, match=r"b has the folders .*'extra'.*'cat'"):
        read(domain)


def test_an_empty_class_folder_is_named(domain):
    (domain / "emu" / "deep").mkdir(parents=True)
    assert reasons(read(domain)) == {"b/emu": "it holds no image"}


def test_all_bad_files_are_named_at_once(domain):
    for i in range(30):
        (domain / "dog" / f"x{i:02}.png").write_bytes(b"")
    with pytest.raises(errors.InputError) as caught:
        read(domain)
    message = str(caught.value)
    assert "30 files" in message
    assert message.count(": it is empty") == 20
    assert "and 10 more" in message
    assert len(read(domain, on_error="skip").left_out) == 30


def test_a_domain_without_images_says_what_is_there(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.heic").write_bytes(b"x")
    with pytest.raises(errors.InputError, match=r"no images in .*b.*1\.heic"):
        read(tmp_path / "b")


def test_a_domain_may_be_the_current_folder(domain, monkeypatch):
    monkeypatch.chdir(domain)
    data = sources.load(".", size=4, channels=3)
    assert (data.name, data.id.tolist()) == ("b", PLAIN)


def test_images_of_too_many_pixels(domain):
    save(domain / "dog" / "3.png", 9)
    with pytest.raises(errors.InputError, match=r"data\.max_pixels=143"):
        sources.load(str(domain), size=4, channels=3, max_pixels=12 * 12 - 1)
    assert decoding.MAX_PIXELS < opening.PILLOWS_LIMIT


UNREADABLE = """
import sys
from dact_jax import errors
from dact_jax.data.readers import folder
try:
    folder.load(sys.argv[1], "b", size=4)
except errors.InputError as error:
    print(error)
data = folder.load(sys.argv[1], "b", size=4, on_error="skip")
print(data.id.tolist(), [tuple(file) for file in data.left_out])
"""


def unprivileged(code, *arguments):
    """Runs code as a user whom rights stop, also where the tests run as root."""
    command = [sys.executable, "-c", code, *arguments]
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may enter every folder, and setpriv is not installed")
    if os.geteuid() == 0:
        lost = "-dac_override,-dac_read_search"
        command = [
            *("setpriv", f"--bounding-set={lost}", f"--inh-caps={lost}"),
            *command,
        ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_folder_that_may_not_be_entered_is_named(domain):
    locked = domain / "dog" / "more"
    save(locked / "1.png", 9)
    locked.chmod(0)
    try:
        refused, skipped = unprivileged(UNREADABLE, str(domain.parent)).splitlines()
    finally:
        locked.chmod(0o700)
    assert "b/dog/more cannot be read: Permission denied" in refused
    assert "'b/cat/1.png'" in skipped
    assert "('b/dog/more', 'Permission denied', True)" in skipped
