# The indexing job and the command line, for docker-compose.yml.
FROM python:3.11.14-slim-bookworm

WORKDIR /app
COPY . .
RUN pip install --no-cache-dir -c constraints.txt '.[cpu,elasticsearch]' \
    && useradd --create-home qa \
    && mkdir /state \
    && chown qa /state
USER qa
ENV HAYSTACK_TELEMETRY_ENABLED=False \
    ORT_DISABLE_TELEMETRY=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    DO_NOT_TRACK=1
CMD ["qa", "doctor"]
