# syntax=docker/dockerfile:1
# A node: `docker build -t davy .`, or for a model of its own `docker build --build-arg SET=model -t davy:model .` (SET=torch for large ones)
# It runs as a user without rights on a read-only root; the one place it writes to is the volume DAVY_HOME.
# Everything above the base image comes by hash; name the base image by digest too where a build must be repeatable to the bit.

FROM python:3.12-slim AS build
ARG SET=base
ENV APP=/opt/davy \
    BACKEND=/opt/backend \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    UV_NO_CACHE=1 \
    UV_COMPILE_BYTECODE=1
WORKDIR /source
COPY requirements ./requirements
RUN python3 -m venv --without-pip "$APP" && python3 -m venv "$BACKEND" \
 && "$BACKEND/bin/python" -m pip install --quiet --require-hashes --requirement requirements/uv.txt \
 && "$BACKEND/bin/uv" pip install --quiet --python "$BACKEND/bin/python" --require-hashes --requirement requirements/build.txt \
 && "$BACKEND/bin/uv" pip install --quiet --python "$APP/bin/python" --require-hashes --requirement "requirements/$SET.txt"
COPY pyproject.toml LICENSE README.md ./
COPY davy ./davy
RUN "$BACKEND/bin/python" -m hatchling build --target wheel \
 && "$BACKEND/bin/uv" pip install --quiet --python "$APP/bin/python" --no-deps dist/*.whl

FROM python:3.12-slim
ARG UID=10001
ENV DAVY_HOME=/home/davy \
    DAVY_HEALTH=http://127.0.0.1:26657/health \
    PATH=/opt/davy/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/davy /opt/davy
RUN install -d -m 0700 -o "$UID" -g "$UID" "$DAVY_HOME"
VOLUME ["/home/davy"]
USER 10001:10001
WORKDIR /home/davy
# Asked from inside, so a self-signed certificate is expected; what it says is checked by those who pin its key.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, ssl, urllib.request as r; r.urlopen(os.environ['DAVY_HEALTH'], timeout=4, context=ssl._create_unverified_context())"]
ENTRYPOINT ["davy"]
CMD ["--help"]
