"""A run's folder that asks something, and a page that serves it, for tests."""

import contextlib
import hashlib
import http.client
import json
import socket

from PIL import Image

from dact_jax.labelling import session as sessions, training
from dact_jax.queries import query as queries
from dact_jax.queries.query import Item, Query

CLASSES = ("Grünfläche", "猫", "dog")
CAMPAIGN = "0123abcd"


def digest(path):
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def write(folder, *, count=3, classes=CLASSES, round=3, kind="png"):
    """Writes images and the query that asks for them into a run's folder."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").touch()
    items = []
    for number in range(count):
        name = f"{round}-<b>ü&{number}.{kind}"
        path = folder / "images" / name
        Image.new("RGB", (9 + number, 8), (40 * number % 256, 90, 200)).save(path)
        suggested = classes[number % len(classes)]
        items.append(
            Item(name, name, str(path), suggested, 0.75, float(number), digest(path))
        )
    query = Query(CAMPAIGN, round, tuple(classes), tuple(items))
    put(folder, query)
    return query


def put(folder, query):
    place = queries.place(folder, query.round)
    place.mkdir(parents=True, exist_ok=True)
    (place / queries.FILE).write_text(queries.text(query))


def names(query):
    """The `dact_id` of each image."""
    return [queries.dact_id(query.campaign, item.id) for item in query.items]


class Client:
    """A page that is served at a free port, and requests to it as a browser's."""

    def __init__(self, port, session, trainer):
        self.port, self.session, self.trainer = port, session, trainer
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}/"

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, path, fields, **headers):
        body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        usual = {
            "Content-Type": "application/json",
            "Origin": f"http://{self.host}",
            "Content-Length": str(len(body)),
        }
        usual |= {key.replace("_", "-"): value for key, value in headers.items()}
        return self.request("POST", path, headers=usual, body=body)

    def request(self, method, path, *, headers, body=b""):
        """(status, headers, body) of one request; the path goes out as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True)
            sent = {"Host": self.host, **headers}
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def state(self):
        return json.loads(self.get("/api/state")[2])

    def answer(self, name, label="", *, kind="label", rows=0, **fields):
        version = self.session.question().version
        reply = {"version": version, "id": name, "kind": kind, "label": label}
        status, _, body = self.post(
            "/api/answer", reply | {"rows": rows, "seconds": 1.5} | fields
        )
        return status, json.loads(body)


@contextlib.contextmanager
def served(folder, *, host="127.0.0.1", token="", command=(), grace=30.0, port=0):
    """A page on this machine; its rules are those of a page that listens at `host`."""
    from dact_jax.labelling import guard, listening, server

    session = sessions.Session(folder)
    trainer = training.Trainer(
        command, session.is_answered, session.version, grace=grace
    )
    listener = listening.bound("127.0.0.1", port)
    port = listener.getsockname()[1]
    app = server.make_app(
        session, trainer, guard.rules(host, token, port), command="python -m x"
    )
    with listening.served(app, listener):
        yield Client(port, session, trainer)
    trainer.stop()


@contextlib.contextmanager
def taken():
    """A port that is in use."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        yield busy.getsockname()[1]
