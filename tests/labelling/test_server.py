"""What the page answers over HTTP, and whom it refuses."""

import base64
import concurrent.futures
import hashlib
import json
import re
import resource

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from dact_jax.labelling import guard
from dact_jax.queries import query as queries
from dact_jax.rounds import answers
from tests.crash import faults
from tests.labelling import asking


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked")
    query = asking.write(folder)
    with asking.served(folder) as client:
        yield folder, query, client


@pytest.fixture
def fresh(tmp_path):
    query = asking.write(tmp_path)
    with asking.served(tmp_path) as client:
        yield tmp_path, query, client


def test_the_page_runs_its_own_script_and_style_only(asked):
    _, _, client = asked
    status, headers, body = client.get("/")
    text = body.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = headers["Content-Security-Policy"]
    for kind in ("script", "style"):
        (code,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "innerHTML" not in text
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", text)


@pytest.mark.parametrize(
    "path", ["/", "/api/state", "/image/none", "/report.md", "/report.html", "/nothing"]
)
def test_every_response_has_the_headers_that_protect_it(asked, path):
    headers = asked[2].get(path)[1]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "server" not in headers


def test_the_state_is_that_of_the_folder(asked):
    _, query, client = asked
    state = client.state()
    assert state["round"] == 3
    assert tuple(state["classes"]) == asking.CLASSES
    assert [item["id"] for item in state["items"]] == asking.names(query)
    assert state["items"][1] == {
        "id": asking.names(query)[1],
        "name": "3-<b>ü&1.png",
        "file": True,
        "suggested": "猫",
        "confidence": 0.75,
        "rows": 0,
        "answer": None,
        "unsure": 0,
    }
    assert state["training"]["state"] == "off"


def test_an_unchanged_state_is_not_sent_again(fresh):
    _, query, client = fresh
    tag = client.get("/api/state")[1]["ETag"]
    assert client.get("/api/state", If_None_Match=tag)[0] == 304
    client.answer(asking.names(query)[0], "dog")
    assert client.get("/api/state", If_None_Match=tag)[0] == 200


def test_an_answer_is_on_the_disk_before_its_response(fresh):
    folder, query, client = fresh
    status, state = client.answer(asking.names(query)[1], "猫", seconds=2.25)
    (found,) = answers.read(folder)
    assert status == 200
    assert found[:3] == (query.items[1].id, "猫", False)
    assert found[4:] == ("page", "猫", 2.25)
    assert state["items"][1]["answer"] == {"label": "猫", "skip": False}
    assert state["items"][1]["rows"] == 1


def test_skip_and_not_sure(fresh):
    folder, query, client = fresh
    first, second, third = asking.names(query)
    for name in (second, first, second):
        assert client.answer(name, kind="unsure")[0] == 200
    assert [item["unsure"] for item in client.state()["items"]] == [1, 2, 0]
    assert answers.read(folder) == []
    assert client.answer(third, kind="skip")[0] == 200
    assert client.answer(first, "dog")[0] == 200
    (skipped, given) = answers.read(folder)
    assert (skipped.label, skipped.skip) == ("", True)
    assert given.label == "dog"
    assert [item["unsure"] for item in client.state()["items"]] == [0, 1, 0]
    assert client.answer(first, kind="unsure", rows=1)[0] == 409


def test_another_window_corrects_an_answer_only_if_it_knows_of_it(fresh):
    folder, query, client = fresh
    name = asking.names(query)[0]
    assert client.answer(name, "dog")[0] == 200
    status, body = client.answer(name, "猫")
    assert status == 409
    assert "another window" in body["error"]
    assert client.answer(name, "猫", rows=1)[0] == 200
    assert [answer.label for answer in answers.read(folder)] == ["dog", "猫"]


def test_of_answers_at_the_same_moment_one_is_taken(fresh):
    folder, query, client = fresh
    name = asking.names(query)[0]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: client.answer(name, "dog")[0], range(8))
    assert sorted(found) == [200, *7 * [409]]
    assert len(answers.read(folder)) == 1


def test_an_answer_to_an_earlier_question_is_refused(fresh):
    folder, query, client = fresh
    before = client.session.question().version
    later = asking.write(folder, round=4)
    status, body = client.answer(asking.names(query)[0], "dog", version=before)
    assert status == 409
    assert "something else" in body["error"]
    assert client.answer(asking.names(query)[0], "dog")[0] == 404
    assert client.answer(asking.names(later)[0], "dog")[0] == 200
    assert client.get(f"/image/{asking.names(query)[0]}")[0] == 404
    assert client.state()["round"] == 4


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"label": "Dog"}, 400, "there is no class 'Dog'; did you mean 'dog'?"),
        ({"label": ""}, 400, "there is no class"),
        ({"label": 7}, 400, "an answer is a JSON object"),
        ({"kind": "maybe"}, 400, "an answer is a JSON object"),
        ({"seconds": -1}, 400, "an answer is a JSON object"),
        ({"seconds": float("nan")}, 400, "an answer is a JSON object"),
        ({"seconds": True}, 400, "an answer is a JSON object"),
        ({"rows": True}, 400, "an answer is a JSON object"),
        ({"more": 1}, 400, "an answer is a JSON object"),
        ({"id": "0123abcd-000000000000"}, 404, "no such image"),
        ({"id": "ffffffff-000000000000"}, 404, "no such image"),
        ({"id": "../../labels.csv"}, 404, "no such image"),
    ],
)
def test_a_wrong_answer_is_refused_in_one_sentence(asked, fields, status, sentence):
    folder, query, client = asked
    name = fields.pop("id", asking.names(query)[0])
    found, body = client.answer(name, fields.pop("label", "dog"), **fields)
    assert (found, sentence in body["error"]) == (status, True), body
    assert answers.read(folder) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"null", b"\xff", 9000 * b"["])
def test_a_body_that_is_no_answer_is_refused(asked, body):
    assert asked[2].post("/api/answer", body)[0] == 400
    assert asked[2].post("/api/train", body)[0] == 400


@pytest.mark.parametrize("kind", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("at", [1, 2, 3, 4], ids=["open", "cut", "write", "fsync"])
def test_an_answer_that_cannot_be_saved_is_told_and_can_be_given_again(fresh, kind, at):
    folder, query, client = fresh
    first, second, _ = asking.names(query)
    client.answer(first, "dog")
    before = client.state()["items"]
    with faults.layer(str(folder), faults.Fault(kind, at)) as record:
        status, body = client.answer(second, "dog")
    name, _, path = record.failed.partition(" ")
    assert path == "labels.csv"
    words = {"ENOSPC": "No space left on device", "EIO": "Input/output error"}[kind]
    assert (status, body["error"]) == (500, f"{folder / 'labels.csv'}: {words}.")
    kept = (kind, name) == ("ENOSPC", "fsync")  # the line could not be taken back
    if not kept:
        assert client.state()["items"] == before
    # The disk has room again. What was kept is shown as an answer, to be changed.
    status, state = client.answer(second, "猫", rows=int(kept))
    assert (status, state["items"][1]["answer"]["label"]) == (200, "猫")
    told = [answer.label for answer in answers.read(folder)]
    assert told == ["dog", *kept * ["dog"], "猫"]


def test_what_a_full_disk_took_of_an_answer_is_taken_back(fresh):
    folder, query, client = fresh
    first, second, _ = asking.names(query)
    client.answer(first, "dog")
    whole = (folder / "labels.csv").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, hard))
    try:
        status, body = client.answer(second, "dog")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (status, body["error"]) == (500, f"{folder / 'labels.csv'}: File too large.")
    assert (folder / "labels.csv").read_bytes() == whole
    assert client.answer(second, "猫")[0] == 200
    assert [answer.label for answer in answers.read(folder)] == ["dog", "猫"]


@pytest.mark.parametrize("torn", [1, 3, 20, 60])
def test_a_line_that_a_kill_has_torn_is_asked_again(fresh, torn):
    folder, query, client = fresh
    first, second, _ = asking.names(query)
    client.answer(first, "dog")
    client.answer(second, "dog")
    path = folder / "labels.csv"
    path.write_bytes(path.read_bytes()[:-torn])
    shown = client.state()["items"]
    assert [item["answer"] is None for item in shown] == [False, True, True]
    assert client.answer(second, "猫")[0] == 200
    assert [answer.label for answer in answers.read(folder)] == ["dog", "猫"]


def test_a_damaged_table_of_answers_is_told(fresh):
    folder, query, client = fresh
    (folder / "labels.csv").write_text("id,label\nx,y\n")
    status, body = client.answer(asking.names(query)[0], "dog")
    assert status == 422
    assert "labels.csv must begin with" in body["error"]
    assert client.get("/api/state")[0] == 422


# ---- Images ----------------------------------------------------------------------


def test_a_queried_image_is_sent_as_it_is(asked):
    folder, query, client = asked
    name = asking.names(query)[0]
    status, headers, body = client.get(f"/image/{name}")
    assert status == 200
    assert headers["Content-Type"] == "image/png"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert body == (folder / "images" / query.items[0].id).read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/image/../config.yaml",
        "/image/..%2f..%2fconfig.yaml",
        "/image/%2e%2e/%2e%2e/etc/passwd",
        "/image//etc/passwd",
        "/image/%2fetc%2fpasswd",
        "/image/..\\config.yaml",
        "/image/0123abcd-ffffffffffff",
        "/image/3-%3Cb%3E%C3%BC&0.png",
        "/image/%00",
        "/image/",
        "/../config.yaml",
        "/config.yaml",
        "/labels.csv",
        "/page.html",
        "//etc/passwd",
    ],
)
def test_nothing_else_is_served(asked, path):
    status, _, body = asked[2].get(path)
    assert status == 404
    assert b"root:" not in body


@pytest.mark.parametrize("change", ["vanished", "changed", "a folder"])
def test_an_image_that_is_another_now_is_told_and_not_labelled(fresh, change):
    folder, query, client = fresh
    path, name = folder / "images" / query.items[0].id, asking.names(query)[0]
    path.unlink()
    if change == "changed":
        path.write_bytes((folder / "images" / query.items[1].id).read_bytes())
    elif change == "a folder":
        path.mkdir()
    status, _, body = client.get(f"/image/{name}")
    assert status == 422
    assert change in json.loads(body)["error"]
    status, body = client.answer(name, "dog")
    assert (status, change in body["error"]) == (422, True)
    assert answers.read(folder) == []
    assert client.answer(name, kind="skip")[0] == 200


def test_a_vector_without_a_file_is_labelled_by_its_name(fresh):
    folder, query, client = fresh
    item = query.items[0]._replace(path="", digest="", id="a\udcff", file_name="")
    query = query._replace(items=(item,))
    asking.put(folder, query)
    name = queries.dact_id(query.campaign, item.id)
    (shown,) = client.state()["items"]
    assert (shown["name"], shown["file"]) == ("a\\xff", False)
    assert client.get(f"/image/{name}")[0] == 404
    assert client.answer(name, "dog")[0] == 200
    assert answers.read(folder)[0].id == "a\udcff"


def test_the_report_is_plain_text(fresh):
    folder, _, client = fresh
    assert client.get("/report.md")[0] == 404
    (folder / "report.md").write_text("<script>ü")
    status, headers, body = client.get("/report.md")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert body.decode() == "<script>ü"
    assert client.state()["report"] == str(folder / "report.md")


def test_the_page_of_the_run_is_shown_and_can_ask_this_server_nothing(fresh):
    folder, _, client = fresh
    assert client.get("/report.html")[0] == 404
    (folder / "report.md").write_text("the same")
    (folder / "report.html").write_text("<p>ü")
    status, headers, body = client.get("/report.html")
    assert (status, body.decode()) == (200, "<p>ü")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"sandbox allow-scripts", "default-src 'none'"} <= set(policy)
    assert client.state()["report"] == str(folder / "report.html")


# ---- Whom it refuses -------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "",
        None,
        "[::1",
        "192.168.0.7",
        "localhost.",
        "localhost@evil.example",
    ],
)
def test_another_name_for_this_machine_is_refused(asked, host):
    status, _, body = asked[2].get("/api/state", Host=host)
    assert status in (400, 403)  # a request without Host is malformed
    assert b"items" not in body


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_this_machine_has_several_names(asked, host):
    assert asked[2].get("/api/state", Host=host)[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": None}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "file://127.0.0.1"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": None}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "text/plain; application/json"}, 415),
        ({"Content_Length": str(2**16 + 1)}, 413),
        ({"Content_Length": 15 * "9"}, 413),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
    ],
)
def test_what_a_foreign_page_could_send_is_refused(asked, headers, status):
    folder, query, client = asked
    fields = {"version": client.session.question().version, "label": "dog"}
    fields |= {"id": asking.names(query)[0], "kind": "label", "rows": 0}
    fields |= {"seconds": None}
    assert client.post("/api/answer", fields, **headers)[0] == status
    assert answers.read(folder) == []


def test_a_body_of_unknown_length_is_refused(asked):
    chunked = {"Content_Length": None, "Transfer_Encoding": "chunked"}
    assert asked[2].post("/api/answer", b"2\r\n{}\r\n0\r\n\r\n", **chunked)[0] == 411


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "GET"])
def test_other_methods_are_refused(asked, method):
    headers = {"Content-Type": "application/json", "Content-Length": "0"}
    headers["Origin"] = f"http://{asked[2].host}"
    assert asked[2].request(method, "/api/answer", headers=headers)[0] == 405


@pytest.fixture(scope="module")
def open_to_others(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    query = asking.write(folder)
    with asking.served(folder, host="0.0.0.0", token="T-0_x") as client:
        yield query, client


@pytest.mark.parametrize(
    "path", ["/", "/api/state", "/report.md", "/report.html", "/favicon.ico"]
)
@pytest.mark.parametrize(
    "known", ["", "?token=", "?token=T-0_", "?token=T-0_xx", "?token=%ff", "?token=ü"]
)
def test_without_the_token_nothing_is_told(open_to_others, path, known):
    _, client = open_to_others
    if "ü" in known:
        known = "?token=%C3%BC"
    status, headers, body = client.get(path + known, Host="192.168.0.7:8000")
    assert status == 403
    assert b"token" in body
    assert "set-cookie" not in headers


def test_the_token_becomes_a_cookie_and_leaves_the_address(open_to_others):
    query, client = open_to_others
    status, headers, _ = client.get("/?token=T-0_x", Host="192.168.0.7:8000")
    assert (status, headers["Location"]) == (303, "/")
    cookie = headers["Set-Cookie"]
    assert cookie.startswith(f"dact_label_{client.port}=T-0_x;")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    kept = {"Cookie": cookie.partition(";")[0], "Host": "192.168.0.7:8000"}
    for path in ("/", "/api/state", f"/image/{asking.names(query)[0]}"):
        assert client.get(path, **kept)[0] == 200
    wrong = {**kept, "Cookie": kept["Cookie"] + "x"}
    assert client.get("/api/state", **wrong)[0] == 403


def test_the_token_may_be_a_header(open_to_others):
    _, client = open_to_others
    assert client.get("/api/state", Authorization="Bearer T-0_x")[0] == 200
    assert client.get("/api/state", Authorization="Bearer T-0_")[0] == 403


def test_a_token_does_not_help_under_a_foreign_name(open_to_others):
    _, client = open_to_others
    host = {"Host": "evil.example"}
    assert client.get("/?token=T-0_x", **host)[0] == 403
    assert client.get("/api/state", Authorization="Bearer T-0_x", **host)[0] == 403


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("my-machine", False),
    ],
)
def test_only_loopback_needs_no_token(host, alone):
    assert guard.is_loopback(host) is alone
