# vltool in a container, for processors, for GPUs, and for GPUs with detectron2. How to build and use it: docs/container.md
#
#   docker build --target cpu        --tag vltool:cpu .
#   docker build --target cuda       --tag vltool:cuda .
#   docker build --target detectron2 --tag vltool:detectron2 --build-arg DETECTRON2=git+https://… .
#
# Packages are installed in stages of their own and copied over, so that no compiler, cache or source stays in an image.
# tests/container.py performs these very RUN lines in a virtual environment; COPY --from therefore keeps every path.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# vltool's wheel, and the list of what it requires: who changes the code alone installs no package again.
FROM ${PYTHON_IMAGE} AS wheel
# Extras of pyproject.toml, with blanks between them: "ray".
ARG EXTRAS=""
WORKDIR /opt/source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY vltool ./vltool
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --constraint constraints.txt hatchling \
    && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /opt/wheels . \
    && cp constraints.txt /opt/wheels/ \
    && /opt/build/bin/python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*project['dependencies'], *(line for extra in '${EXTRAS}'.split() for line in project['optional-dependencies'][extra]), sep='\n')" > /opt/wheels/requirements.txt

FROM ${PYTHON_IMAGE} AS cpu-packages
# PyPI's torch brings CUDA along, some gigabytes. An index of CPU wheels of torch, named here, is asked as well.
ARG TORCH_INDEX=""
COPY --from=wheel /opt/wheels/requirements.txt /opt/wheels/constraints.txt /opt/wheels/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} --constraint /opt/wheels/constraints.txt --requirement /opt/wheels/requirements.txt

FROM ${PYTHON_IMAGE} AS cuda-packages
COPY --from=wheel /opt/wheels/requirements.txt /opt/wheels/constraints.txt /opt/wheels/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --constraint /opt/wheels/constraints.txt --requirement /opt/wheels/requirements.txt

# detectron2 has no wheels; its documentation says to build it from its repository, with a compiler and torch at hand.
FROM cuda-packages AS detectron2-packages
# What pip installs: git+https://….git@COMMIT, or a URL of an archive. Left empty, the build stops and says so.
ARG DETECTRON2=""
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git \
    && rm -rf /var/lib/apt/lists/*
RUN test -n "${DETECTRON2}" || { echo "name detectron2's source: --build-arg DETECTRON2=git+https://…" >&2; exit 1; }
RUN /opt/venv/bin/pip install --no-cache-dir --constraint /opt/wheels/constraints.txt "setuptools<81" wheel ninja \
    && /opt/venv/bin/pip install --no-cache-dir --constraint /opt/wheels/constraints.txt --no-build-isolation "${DETECTRON2}"

# What all images have in common: an ordinary user, a place to work, and a way to ask whether all is well.
FROM ${PYTHON_IMAGE} AS base
RUN useradd --uid 10001 --user-group --create-home vltool \
    && install --directory --owner=vltool --group=vltool /work
ENV PATH=/opt/venv/bin:$PATH \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1
WORKDIR /work
HEALTHCHECK --interval=5m --timeout=60s --start-period=30s --retries=2 CMD ["vltool", "doctor"]
ENTRYPOINT ["vltool"]
CMD ["--help"]

FROM base AS cpu
COPY --from=cpu-packages /opt/venv /opt/venv
RUN --mount=type=bind,from=wheel,source=/opt/wheels,target=/opt/wheels \
    /opt/venv/bin/pip install --no-cache-dir --no-deps /opt/wheels/vltool-*.whl
USER 10001:10001

FROM base AS detectron2
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=detectron2-packages /opt/venv /opt/venv
RUN --mount=type=bind,from=wheel,source=/opt/wheels,target=/opt/wheels \
    /opt/venv/bin/pip install --no-cache-dir --no-deps /opt/wheels/vltool-*.whl
USER 10001:10001

# The last stage is what a build without --target makes.
FROM base AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=cuda-packages /opt/venv /opt/venv
RUN --mount=type=bind,from=wheel,source=/opt/wheels,target=/opt/wheels \
    /opt/venv/bin/pip install --no-cache-dir --no-deps /opt/wheels/vltool-*.whl
USER 10001:10001
