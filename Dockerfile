# The origin in a container: docker build -t chunkstore .
# docs/operations.md says how to run it. tests/packaging/ holds what is promised there.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY chunkstore ./chunkstore
# pip compiles what it installs: the root is read-only later, and a start is faster.
RUN python -m venv /opt/chunkstore && /opt/chunkstore/bin/python -m pip install --no-cache-dir .

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="chunkstore" \
      org.opencontainers.image.description="A low-latency HTTP origin: storage for data that is still being written" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/chunkstore /opt/chunkstore
# Loopback in a container is nobody's, so it listens beyond; then it doesn't start before somebody
# said who may write: a token in the settings, or --open-writes. The admin listener is for
# HEALTHCHECK. Both win over a settings file; flags win over both.
ENV PATH=/opt/chunkstore/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    CHUNKSTORE_LISTEN=0.0.0.0:8080 \
    CHUNKSTORE_ADMIN=127.0.0.1:8081
# A number, so that "must not run as root" can be checked without the image's list of users.
USER 10001:10001
EXPOSE 8080
# Not urllib: it would ask a proxy of the environment.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["python", "-I", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8081, timeout=2); c.request('GET', '/health/live'); sys.exit(c.getresponse().status != 200)"]
# No shell: SIGTERM reaches the server itself, which drains.
ENTRYPOINT ["chunkstore"]
CMD ["serve"]
