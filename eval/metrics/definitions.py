"""The metrics of every evaluation: one table that scoring, tables, plots, pages and docs read.

The functions behind them are in `qa_system.metrics`, `eval.metrics.ranking` and
`eval.metrics.selective`. In the formulas n is the number of candidates, m that of the gold ones.
Every ranking metric is its mean over all orders of the reviews that have equal scores.
"""

from __future__ import annotations

from collections.abc import Callable
from math import fsum

from eval.metrics.consensus import CONSENSUS
from eval.metrics.metric import (
    ANSWERABLE,
    ANSWERED,
    ANSWERED_ANSWERABLE,
    UNANSWERABLE,
    Case,
    Metric,
    Population,
)
from eval.metrics.ranking import (
    average_precision,
    average_precision_at_random,
    hit_at_k,
    hit_in_tie,
    hit_rate_at_random,
    ndcg_at_k,
    ndcg_at_random,
    recall_at_k,
    recall_at_random,
    reciprocal_rank,
    reciprocal_rank_at_random,
)
from qa_system.labels import gold_documents, gold_texts
from qa_system.metrics import exact_match, f1

__all__ = ["DEFINITIONS"]

TOGETHER = Population("all questions at once", lambda _: True)

MANNING = "Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, 8.4"
JARVELIN = "Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002"
TIES = "; ties: McSherry and Najork, 2008"
SQUAD = "SQuAD 2.0 evaluation script"
RAG = "Lewis et al., Retrieval-Augmented Generation, 2020"
SPAN = "`random_span` baseline"


def _ranked(score: Callable[..., float]) -> Callable[[Case], float]:
    """Let a function of (ranking, gold documents, k, scores) score a case."""

    def scored(case: Case) -> float:
        ranking = case.output["ranked"]
        k = case.k or len(ranking)
        return score(ranking, case.output["gold"], k, case.output.get("scores"))

    return scored


def _at_random(expect: Callable[[int, int, int], float]) -> Callable[[Case], float]:
    return lambda case: expect(case.output["candidates"], case.output["gold_candidates"], case.k)


def _answer_among_k(case: Case) -> float:
    output = case.output
    return hit_in_tie(output["answer_rank"], output.get("answer_tie", (1, 1)), case.k)


def _answer_among_k_at_random(case: Case) -> float:
    return hit_rate_at_random(case.output["candidates"], case.output["answer_candidates"], case.k)


RANKING = (
    Metric(
        name="recall@k",
        label="recall@k",
        meaning="Share of the gold reviews that are among the first k.",
        source=MANNING + TIES,
        tasks=("retriever",),
        over=ANSWERABLE,
        score=_ranked(recall_at_k),
        at_random="min(k, n) / n",
        expect=_at_random(recall_at_random),
    ),
    Metric(
        name="hit_rate@k",
        label="hit rate@k",
        meaning="1 if any gold review is among the first k, else 0.",
        source="success@k of trec_eval" + TIES,
        tasks=("retriever",),
        over=ANSWERABLE,
        score=_ranked(hit_at_k),
        at_random="1 - C(n - m, k) / C(n, k)",
        expect=_at_random(hit_rate_at_random),
    ),
    Metric(
        name="ndcg@k",
        label="nDCG@k",
        meaning="Discounted gain of the gold reviews among the first k, divided by that of a "
        "perfect ranking.",
        source=JARVELIN + TIES,
        tasks=("retriever",),
        over=ANSWERABLE,
        score=_ranked(ndcg_at_k),
        at_random="gain if each of the first k were m / n gold, divided likewise",
        expect=_at_random(ndcg_at_random),
    ),
    Metric(
        name="answer_recall@k",
        label="answer recall@k",
        meaning="1 if any review among the first k, gold or not, contains a right answer word for "
        "word (upper and lower case alike), else 0.",
        source="Karpukhin et al., Dense Passage Retrieval, 2020 (top-k accuracy)" + TIES,
        tasks=("retriever",),
        over=ANSWERABLE,
        score=_answer_among_k,
        at_random="as hit_rate@k; m: candidates that contain an answer",
        expect=_answer_among_k_at_random,
    ),
    Metric(
        name="mrr",
        label="MRR",
        meaning="1 / rank of the first gold review; 0 if none is among the first `depth`.",
        source="Voorhees, The TREC-8 Question Answering Track Report, 1999" + TIES,
        tasks=("retriever",),
        over=ANSWERABLE,
        score=_ranked(reciprocal_rank),
        at_random="sum over ranks r of p(first gold review at r) / r",
        expect=_at_random(reciprocal_rank_at_random),
    ),
    Metric(
        name="map",
        label="MAP",
        meaning="Mean, over the gold reviews, of the precision at their ranks; a gold review that "
        "is not among the first `depth` adds 0.",
        source=MANNING + TIES,
        tasks=("retriever",),
        over=ANSWERABLE,
        score=_ranked(average_precision),
        at_random="sum over ranks r of (1 + (r - 1)(m - 1)/(n - 1)) / (r n)",
        expect=_at_random(average_precision_at_random),
    ),
)


def _said(score: Callable[..., float], key: str = "prediction") -> Callable[[Case], float]:
    """Let a function of (prediction, references) score a case."""
    return lambda case: score(case.output[key], gold_texts(case.label))


_em, _f1 = _said(exact_match), _said(f1)

ANSWERS = (
    Metric(
        name="em",
        label="EM",
        meaning="1 if the answer equals an annotator's after normalisation, else 0; on a question "
        "without an answer, 1 if the system abstains.",
        source=SQUAD,
        score=_em,
        at_random=SPAN,
    ),
    Metric(
        name="f1",
        label="F1",
        meaning="Harmonic mean of precision and recall over the words of the answer and of the "
        "annotator's that is nearest; on a question without an answer, 1 if the system abstains.",
        source=SQUAD,
        score=_f1,
        at_random=SPAN,
    ),
    Metric(
        name="has_ans_em",
        label="EM, answerable",
        meaning="`em` of the questions that have an answer.",
        source=SQUAD,
        over=ANSWERABLE,
        score=_em,
        at_random=SPAN,
    ),
    Metric(
        name="has_ans_f1",
        label="F1, answerable",
        meaning="`f1` of the questions that have an answer.",
        source=SQUAD,
        over=ANSWERABLE,
        score=_f1,
        at_random=SPAN,
    ),
    Metric(
        name="no_ans_em",
        label="EM, unanswerable",
        meaning="1 if the system abstains, else 0.",
        source=SQUAD,
        over=UNANSWERABLE,
        score=_em,
        at_random=SPAN,
    ),
    Metric(
        name="no_ans_f1",
        label="F1, unanswerable",
        meaning="1 if the system abstains, else 0.",
        source=SQUAD,
        over=UNANSWERABLE,
        score=_f1,
        at_random=SPAN,
    ),
    Metric(
        name="forced_has_ans_em",
        label="EM, answerable, forced",
        meaning="`em` of the best span, whether or not it reaches the no-answer threshold.",
        source=SQUAD,
        over=ANSWERABLE,
        score=_said(exact_match, "forced"),
        at_random=SPAN,
    ),
    Metric(
        name="forced_has_ans_f1",
        label="F1, answerable, forced",
        meaning="`f1` of the best span, whether or not it reaches the no-answer threshold.",
        source=SQUAD,
        over=ANSWERABLE,
        score=_said(f1, "forced"),
        at_random=SPAN,
    ),
    Metric(
        name="has_ans_sas",
        label="semantic similarity, answerable",
        meaning="Cosine between the answer and the annotator's that is nearest, by the configured "
        "encoder.",
        source="Risch et al., Semantic Answer Similarity, 2021 (bi-encoder)",
        over=ANSWERABLE,
    ),
)


def _best_of_k(score: Callable[..., float]) -> Callable[[Case], float]:
    def best(case: Case) -> float:
        texts = [answer["text"] for answer in case.output["answers"]] or [""]
        return max(score(text, gold_texts(case.label)) for text in texts)

    return best


PIPELINE = (
    Metric(
        name="judged_f1",
        label="F1, judged",
        meaning="`f1` of the best answer from a review that annotators read for the question; "
        "answers from the others are left out before scoring.",
        source="condensed lists: Sakai, Alternatives to Bpref, SIGIR 2007",
        tasks=("pipeline",),
        score=lambda case: f1(case.output["judged"], gold_texts(case.label)),
    ),
    Metric(
        name="em@k",
        label="EM, best of k",
        meaning="`em` of the best of the first k answers.",
        source=SQUAD,
        tasks=("pipeline",),
        score=_best_of_k(exact_match),
    ),
    Metric(
        name="f1@k",
        label="F1, best of k",
        meaning="`f1` of the best of the first k answers.",
        source=SQUAD,
        tasks=("pipeline",),
        score=_best_of_k(f1),
    ),
    Metric(
        name="retrieved",
        label="retrieved",
        meaning="1 if a gold review was among those that the reader read, else 0.",
        source="hit rate at the number of reviews read",
        tasks=("pipeline",),
        over=ANSWERABLE,
        score=lambda case: float(not gold_documents(case.label).isdisjoint(case.output["ranked"])),
    ),
)


def _gold_posterior(case: Case) -> float:
    posterior = case.output["posterior"]
    return fsum(posterior.get(review, 0.0) for review in gold_documents(case.label))


def _gold_top(case: Case) -> float:
    posterior = case.output["posterior"]
    most = {review for review, share in posterior.items() if share == max(posterior.values())}
    return float(most <= gold_documents(case.label))


GENERATOR = (
    Metric(
        name="coverage",
        label="coverage",
        meaning="1 if the system answered, 0 if it abstained.",
        source="El-Yaniv and Wiener, Foundations of Noise-free Selective Classification, 2010",
        tasks=("generator",),
        score=lambda case: float(bool(case.output["prediction"])),
    ),
    Metric(
        name="precision",
        label="precision",
        meaning="`f1` of the answer; an answer to a question without one scores 0.",
        source="1 - selective risk: El-Yaniv and Wiener, 2010",
        tasks=("generator",),
        over=ANSWERED,
        score=_f1,
    ),
    Metric(
        name="gold_posterior",
        label="posterior of the gold review",
        meaning="Probability that the generator gives the gold reviews, once it has written the "
        "answer: p(z|x,y). A reader's is 1 for the review that its answer is from.",
        source=RAG,
        tasks=("generator",),
        over=ANSWERED_ANSWERABLE,
        score=_gold_posterior,
        at_random="1 / reviews read",
    ),
    Metric(
        name="gold_top",
        label="gold review has the highest posterior",
        meaning="1 if no other review has as high a posterior as the gold reviews, else 0.",
        source=RAG,
        tasks=("generator",),
        over=ANSWERED_ANSWERABLE,
        score=_gold_top,
        at_random="1 / reviews read",
    ),
)


def _coverage_at(percent: int) -> Metric:
    return Metric(
        name=f"coverage_at_{percent}",
        label=f"coverage at {percent} % error",
        meaning=f"Largest share of the questions, surest first, of whose answers {percent} % at "
        "most are wrong: have an F1 below .5.",
        source="Kamath, Jia and Liang, Selective Question Answering under Domain Shift, 2020",
        tasks=("reader", "pipeline", "consensus"),
        over=TOGETHER,
    )


CONFIDENCE = (
    Metric(
        name="best_em",
        label="best EM",
        meaning="`em` at the no-answer threshold that suits these questions best: an upper bound, "
        "as no threshold may be chosen on test questions.",
        source=f"{SQUAD} (find_best_thresh_v2)",
        tasks=("reader", "pipeline"),
        over=TOGETHER,
    ),
    Metric(
        name="best_f1",
        label="best F1",
        meaning="`f1` at the no-answer threshold that suits these questions best: an upper bound.",
        source=f"{SQUAD} (find_best_thresh_v2)",
        tasks=("reader", "pipeline"),
        over=TOGETHER,
    ),
    Metric(
        name="ece",
        label="expected calibration error",
        meaning="Mean distance, over ten bins of confidence, between the confidence of the best "
        "span and its F1.",
        source="Guo et al., On Calibration of Modern Neural Networks, 2017",
        over=TOGETHER,
        higher_is_better=False,
    ),
    Metric(
        name="aurc",
        label="area under the risk-coverage curve",
        meaning="Mean risk (1 - F1) of answering only the n questions with the highest "
        "confidence, over all n.",
        source="Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, 2017",
        over=TOGETHER,
        at_random="1 - mean F1",
        higher_is_better=False,
    ),
    *map(_coverage_at, (10, 20, 30)),
)

DEFINITIONS = {
    metric.name: metric
    for metric in (*RANKING, *ANSWERS, *PIPELINE, *GENERATOR, *CONSENSUS, *CONFIDENCE)
}
"""Name -> metric, in the order in which reports list them."""
