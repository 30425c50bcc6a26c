"""Reviews as tools for assistants: an MCP server on standard input and output.

    pip install 'mcp>=2'
    python examples/mcp_server.py configs/sample.yaml

An assistant is told of it by that command, for example in its `mcp.json`.
"""

import sys
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from qa_system import QASystem, QASystemError

server = MCPServer("reviews", instructions="Answers questions about products from their reviews.")


@server.tool()
def ask_reviews(question: str, item_id: str, top_k: int = 3) -> dict[str, Any]:
    """Answer a question about a product from what its customers wrote.

    No points and no answers mean that the reviews don't say. A verdict and points have the numbers
    of reviews; each quote is from one review.
    """
    try:
        answers = system.ask(question, item_id=item_id, top_k=top_k)
    except QASystemError as error:  # what it says may be shown to anybody
        raise ToolError(f"{error.code}: {error.public_message}") from None
    verdict = answers.verdict
    return {
        "reviews": answers.reviews,
        "speak_of_it": answers.mentions,
        "verdict": None
        if verdict is None
        else {"answer": verdict.answer, "yes": verdict.yes, "no": verdict.no},
        "points": [
            {
                "label": point.label,
                "reviews": point.support,
                "polarity": point.polarity,
                "stance": point.stance,
                "quotes": [quote.text for quote in point.quotes[:2]],
            }
            for point in answers.points
        ],
        "answers": [
            {"text": each.text, "confidence": round(each.confidence, 2), "quote": each.snippet}
            for each in answers.answers
        ],
    }


@server.tool()
def review_digest(item_id: str) -> dict[str, Any]:
    """Say what a product's reviews speak of most, with the numbers of reviews for and against.

    `qa-index digest` makes it ahead of time. Each aspect has two quotes at most.
    """
    try:
        digest = system.digest(item_id)
    except QASystemError as error:
        raise ToolError(f"{error.code}: {error.public_message}") from None
    return {
        "reviews": digest.reviews,
        "aspects": [
            {
                "aspect": each.label,
                "for": each.for_,
                "against": each.against,
                "speak_of_it": each.support,
                "quotes": [quote.text for quote in each.quotes[:2]],
            }
            for each in digest.aspects
        ],
    }


with QASystem.open(sys.argv[1] if len(sys.argv) > 1 else "configs/sample.yaml") as system:
    server.run("stdio")
