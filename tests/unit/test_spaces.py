"""Steps after an encoder, against scikit-learn and numbers by hand; saved, damaged, loaded."""

import math
import sys

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from qa_system.embeddings.spaces.clusters import fit_clusters
from qa_system.embeddings.spaces.naming import class_tf_idf, cluster_names
from qa_system.embeddings.spaces.neighbours import nearest
from qa_system.embeddings.spaces.space import ARRAYS, SAID, Space, fit_space
from qa_system.errors import ConfigError, DataError, InvalidArgumentError, MissingDependencyError


def vectors(count, dimension=12, seed=1):
    """Vectors that vary more in some directions than in others."""
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(count, dimension)) * np.linspace(3, 0.5, dimension) + 2).astype("f4")


def blobs(*counts, spread=0.1, seed=2):
    """As many clouds of points, far from each other, and which cloud each point is of."""
    draw = np.random.default_rng(seed)
    clouds = [
        np.eye(5)[at] * 10 + draw.normal(scale=spread, size=(count, 5))
        for at, count in enumerate(counts)
    ]
    return np.concatenate(clouds).astype("f4"), np.repeat(np.arange(len(counts)), counts)


@pytest.mark.parametrize("count", [8, 200])
@pytest.mark.parametrize("whitens", [False, True])
def test_components_are_those_of_scikit_learn(count, whitens):
    ours, theirs = vectors(count), PCA(5, svd_solver="full", whiten=whitens)
    theirs.fit(ours.astype("f8"))
    space = fit_space(ours, ["whiten:5" if whitens else "pca:5"])
    new = vectors(30, seed=9)
    np.testing.assert_allclose(space.apply(new), theirs.transform(new), atol=1e-4)
    step = space.steps[0][1]
    np.testing.assert_allclose(step.components, theirs.components_, atol=1e-5)
    assert step.share == pytest.approx(theirs.explained_variance_ratio_.sum())


def test_whitened_vectors_go_with_nothing():
    ours = vectors(500)
    whitened = fit_space(ours, ["whiten"]).apply(ours)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(12), atol=1e-4)


def test_lengths_are_one_and_zeros_stay():
    ours = np.concatenate([vectors(20), np.zeros((1, 12), "f4")])
    space = fit_space(ours, ["normalize"])
    np.testing.assert_allclose(space.apply(ours), normalize(ours), atol=1e-6)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (["pca:0"], "there is no step 'pca:0'"),
        (["PCA"], "there is no step 'PCA'"),
        (["normalize:3"], "normalize keeps all dimensions"),
        (["pca:9"], "8 vectors vary in 7 directions, and 9 are to be kept"),
        (["tsne:4"], "t-SNE places texts in 3 dimensions at most"),
    ],
)
def test_steps_that_cannot_be(steps, said):
    with pytest.raises(InvalidArgumentError) as caught:
        fit_space(vectors(8), steps)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.full((2, 12), np.nan), "vector 0 has a number that is not finite"),
        (vectors(3, 11), "11 dimensions, not 12"),
    ],
)
def test_vectors_that_cannot_be(given_, said):
    with pytest.raises(InvalidArgumentError, match=said):
        fit_space(vectors(40), ["normalize"]).apply(given_)
    with pytest.raises(InvalidArgumentError):
        fit_space(np.ones((5, 3), "f4"), ["pca"])


def test_weights_of_words_by_hand():
    # 3 clusters with 4, 2 and 6 words: A = 4. "zoom" is said 4 times in all, "cheap" twice.
    counts = [{"zoom": 3, "cheap": 1}, {"cheap": 1, "strap": 1}, {"lens": 5, "zoom": 1}]
    first, second, third = class_tf_idf(counts)
    assert first["zoom"] == pytest.approx(3 * math.log(2))
    assert first["cheap"] == pytest.approx(math.log(3))
    assert second["strap"] == pytest.approx(math.log(5))
    assert third["lens"] == pytest.approx(5 * math.log(1.8))


def test_names_by_hand():
    # Counted once a text: 2, 1 and 3 words in 3 of 4 clusters, so that A = 1.5.
    # "lens" weighs 2 ln(1 + 1.5/2) = 1.12, "cheap" ln(1 + 1.5/2) = 0.56, "zoom" as much.
    texts = ["Zoom, zoom cheap!", "cheap", "lens", "The lens and the zoom"]
    assert cluster_names(texts, [0, 1, 2, 2], 4, words=2) == (
        "cheap, zoom",
        "cheap",
        "lens, zoom",
        "cluster 3",
    )
    spam = ["buy " * 500, "good zoom", "good zoom", "strap", "strap broke"]
    assert cluster_names(spam, [0, 0, 0, 1, 1], 2, words=1) == ("good", "strap")
    assert cluster_names(["none of these"], [-1], 0) == ()


def test_k_means_assigns_as_scikit_learn_does():
    ours, new = vectors(150), vectors(80, seed=7)
    clusters, labels = fit_clusters(ours, method="kmeans", count=6)
    theirs = KMeans(6, n_init=4, random_state=13).fit(ours)
    assert adjusted_rand_score(labels, theirs.labels_) == 1
    assert adjusted_rand_score(clusters.assign(new), theirs.predict(new)) == 1
    assert clusters.agreement == 1
    assert list(clusters.sizes) == sorted(clusters.sizes, reverse=True)
    assert list(clusters.sizes) == np.bincount(labels).tolist()


def test_the_number_of_clusters_is_found():
    ours, clouds = blobs(30, 20, 10, 5)
    clusters, labels = fit_clusters(ours)
    assert clusters.sizes == (30, 20, 10, 5)
    assert labels.tolist() == clouds.tolist()


def test_density_leaves_out_what_is_in_no_cluster():
    ours, clouds = blobs(40, 25)
    alone = np.array([[-30, 0, 0, 0, 0], [0, 0, 0, 0, 40]], "f4")
    ours = np.concatenate([ours, alone])
    clusters, labels = fit_clusters(ours, ["lens"] * 40 + ["strap"] * 27, method="hdbscan")
    theirs = HDBSCAN(min_cluster_size=5, copy=True).fit_predict(ours)
    assert adjusted_rand_score(labels, theirs) == 1
    assert labels[-2:].tolist() == [-1, -1]
    assert labels[: 40 + 25].tolist() == [0 if label == -1 else label for label in labels[:65]]
    assert clusters.assign(alone).tolist() == [-1, -1]
    assert clusters.assign(np.eye(5, dtype="f4")[:2] * 10).tolist() == [0, 1]
    assert clusters.names == ("lens", "strap")
    assert (clusters.name_of(1), clusters.name_of(-1)) == ("strap", "none")
    assert clusters.agreement == (clusters.assign(ours) == labels).mean() > 0.9
    assert len(clouds) == 65


def test_no_cluster_at_all():
    draw = np.random.default_rng(3)
    clusters, labels = fit_clusters(draw.normal(size=(12, 5)).astype("f4"), method="hdbscan")
    assert set(labels) == {-1}
    assert clusters.names == ()
    assert clusters.assign(np.ones((3, 5), "f4")).tolist() == [-1, -1, -1]


def test_clusters_that_cannot_be():
    with pytest.raises(InvalidArgumentError, match="1 different vector cannot make 2 clusters"):
        fit_clusters(np.ones((9, 2), "f4"), count=2)
    with pytest.raises(InvalidArgumentError, match="a cluster is to have 10 texts"):
        fit_clusters(np.ones((9, 2), "f4"), method="hdbscan", least=10)
    with pytest.raises(ConfigError, match="there is no method 'birch'"):
        fit_clusters(np.ones((9, 2), "f4"), method="birch")
    with pytest.raises(InvalidArgumentError, match="the space has no clusters"):
        fit_space(vectors(9)).assign(vectors(9))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.integers(1, 40), st.booleans())
def test_the_nearest_are_the_nearest(texts, others, dimension, count, whole):
    draw = np.random.default_rng(texts * 41 + others)
    here, there = draw.normal(size=(texts, dimension)), draw.normal(size=(others, dimension))
    if whole:  # many ties, many equal vectors
        here, there = here.round(), there.round()
    gaps = np.linalg.norm(here[:, None].astype("f4") - there.astype("f4"), axis=2)
    for rows, found, distances in nearest(here.astype("f4"), there.astype("f4"), count):
        expected = np.sort(gaps[rows], axis=1)[:, :count]
        np.testing.assert_allclose(distances, expected, atol=1e-5)
        np.testing.assert_allclose(np.take_along_axis(gaps[rows], found, 1), expected, atol=1e-5)


@pytest.mark.parametrize("step", ["tsne", pytest.param("umap", marks=pytest.mark.long)])
def test_a_text_is_placed_between_its_neighbours(step):
    if step == "umap":
        pytest.importorskip("umap")
    ours, clouds = blobs(20, 20, 20)
    space = fit_space(ours, ["pca:3", step])
    places = space.apply(ours)
    assert places.tolist() == space.steps[1][1].places.tolist()
    new = space.apply(ours + 0.01)
    for cloud in range(3):
        inside = places[clouds == cloud]
        moved = new[clouds == cloud]
        assert (moved >= inside.min(axis=0) - 1e-3).all()
        assert (moved <= inside.max(axis=0) + 1e-3).all()


@pytest.mark.parametrize(
    ("module", "step", "remedy"),
    [("umap", "umap", "qa-system[umap]"), ("sklearn.manifold", "tsne", "qa-system[spaces]")],
)
def test_what_is_not_installed_is_named(monkeypatch, module, step, remedy):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError) as caught:
        fit_space(vectors(20), [step])
    assert remedy in str(caught.value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    ours, _ = blobs(30, 20)
    texts = ["a good zoom"] * 30 + ["the strap broke"] * 20
    space = fit_space(ours, ["normalize", "whiten:3", "tsne"], made_with={"model": "bundled:x"})
    space, labels = space.with_clusters(ours, texts, method="hdbscan")
    folder = tmp_path_factory.mktemp("space")
    space.save(folder)
    return folder, space, ours, labels


def test_a_space_is_the_same_once_loaded(saved):
    folder, space, ours, _ = saved
    loaded = Space.load(folder)
    new = ours[::-1] + 0.05
    assert loaded.apply(new).tobytes() == space.apply(new).tobytes()
    assert loaded.assign(new).tolist() == space.assign(new).tolist()
    assert loaded.clusters.names == space.clusters.names
    assert set(loaded.clusters.names) == {"good, zoom", "broke, strap"}
    assert loaded.made_with == {"model": "bundled:x"}
    assert sorted(path.name for path in folder.iterdir()) == [SAID, ARRAYS]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from([SAID, ARRAYS]), st.floats(0, 0.999), st.integers(0, 7))
def test_a_damaged_space_is_refused(saved, tmp_path, name, where, bit):
    folder = saved[0]
    for each in (SAID, ARRAYS):
        (tmp_path / each).write_bytes((folder / each).read_bytes())
    content = bytearray((tmp_path / name).read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        Space.load(tmp_path)
    assert name in str(caught.value)


def test_a_space_that_is_not_there_or_newer(saved, tmp_path):
    with pytest.raises(DataError, match=r"Name a folder with space\.json"):
        Space.load(tmp_path)
    said = orjson.loads((saved[0] / SAID).read_bytes())
    (tmp_path / SAID).write_bytes(orjson.dumps({**said, "format": 2}))
    with pytest.raises(DataError, match="the space has format 2, and this version reads 1"):
        Space.load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="the space cannot be written"):
        fit_space(vectors(3)).save(tmp_path / "file" / "under")
