"""The system as a pipeline of hayhooks: `POST /ask_reviews/run`, and a tool for assistants by MCP.

pip install hayhooks
hayhooks run --pipelines-dir examples/hayhooks
"""

from typing import Any

from hayhooks import BasePipelineWrapper

from qa_system import QASystem


class PipelineWrapper(BasePipelineWrapper):
    def setup(self) -> None:
        self.system = QASystem.open("configs/sample.yaml")

    def run_api(self, question: str, item_id: str, top_k: int = 3) -> dict[str, Any]:
        """Answer a question about a product from what its customers wrote."""
        return self.system.ask(question, item_id=item_id, top_k=top_k).to_dict()
