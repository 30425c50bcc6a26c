"""A product page in Flask that asks in its own process.

    pip install flask
    flask --app examples/flask_page.py run

One `QASystem` serves all threads. With several processes each has models of its own; `qa serve`
has them once.
"""

from flask import Flask, Response, jsonify, request

from qa_system import QASystem, QASystemError
from qa_system.errors import (
    InvalidArgumentError,
    QuestionError,
    StoreLockedError,
    StoreUnavailableError,
    UnknownItemError,
)

app = Flask(__name__)
system = QASystem.open("configs/sample.yaml")
STATUSES: list[tuple[type[QASystemError], int]] = [  # the first that fits
    (UnknownItemError, 404),
    (QuestionError, 422),
    (InvalidArgumentError, 422),
    (StoreUnavailableError, 503),
    (StoreLockedError, 503),
]


@app.get("/items/<item_id>/ask")
def ask(item_id: str) -> tuple[Response, int, dict[str, str]]:
    try:
        answers = system.ask(request.args.get("question", ""), item_id=item_id)
    except QASystemError as error:
        app.logger.warning("%s", error)  # this names files; what follows does not
        status = next((number for kind, number in STATUSES if isinstance(error, kind)), 500)
        headers = {"Retry-After": "1"} if status == 503 else {}
        return jsonify({"error": error.to_dict()}), status, headers
    return jsonify(answers.to_dict()), 200, {}
