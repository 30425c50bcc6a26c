# The indexing job and the command line, for docker-compose.yml.
#
# The digest is that of the tag's image for all platforms, copied and never pulled by this project;
# Dependabot keeps both up to date.
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

WORKDIR /app
COPY requirements/image.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/image.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
    && useradd --create-home qa \
    && mkdir /state \
    && chown qa /state
USER qa
ENV HAYSTACK_TELEMETRY_ENABLED=False \
    ORT_DISABLE_TELEMETRY=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    DO_NOT_TRACK=1
CMD ["qa", "doctor"]
