"""A product page in Flask that asks in its own process.

    pip install flask
    flask --app examples/flask_page.py run

One `QASystem` serves all threads. With several processes each has models of its own; `qa serve`
has them once.
"""

from flask import Flask, Response, jsonify, request

from qa_system import QASystem, QASystemError

app = Flask(__name__)
system = QASystem.open("configs/sample.yaml")


@app.get("/items/<item_id>/ask")
def ask(item_id: str) -> tuple[Response, int]:
    try:
        answers = system.ask(request.args.get("question", ""), item_id=item_id)
    except QASystemError as error:
        app.logger.warning("%s", error)  # this names files; what follows does not
        return jsonify(error.to_dict()), 404 if error.code == "unknown_item" else 400
    return jsonify(answers.to_dict()), 200
