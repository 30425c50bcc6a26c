# `qa serve`, `qa-index` and `qa` without torch, for docker-compose.yml and deploy/kubernetes/.
#
#   docker build -t qa-system .
#   docker run --read-only --tmpfs /tmp -v "$PWD/my-store:/store" -p 127.0.0.1:8000:8000 qa-system
#
# Tests parse this file and run its installation; no test builds the image. The digest is that of the
# tag's image for all platforms, copied and never pulled by this project; Dependabot keeps both up to
# date.
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d AS build

WORKDIR /build
RUN python -m venv /opt/qa
COPY requirements/image.txt requirements/
RUN /opt/qa/bin/pip install --no-cache-dir --require-hashes -r requirements/image.txt
COPY . .
RUN /opt/qa/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

# The store and the checkpoints of jobs are volumes; apart from them only /tmp is written to.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp qa \
    && install -d -o qa -g qa -m 0700 /store /state
COPY --from=build /opt/qa /opt/qa
WORKDIR /app
COPY configs configs
ENV PATH=/opt/qa/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HAYSTACK_TELEMETRY_ENABLED=False \
    ORT_DISABLE_TELEMETRY=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    DO_NOT_TRACK=1
USER 10001:10001
EXPOSE 8000
# Without curl, which the image has not. Models are loaded in the start period.
HEALTHCHECK --interval=10s --timeout=5s --start-period=2m --retries=3 \
    CMD ["python", "-c", "import urllib.request as http; http.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
CMD ["qa", "serve", "--host", "0.0.0.0", "--port", "8000", "--store", "/store"]
