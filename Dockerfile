# splitc with all that it needs to compile, and no network from then on:
#
#   docker build --tag splitc .
#   docker run --rm --network none --user "$(id -u):$(id -g)" --volume "$PWD:/work" \
#     splitc build splitc.toml
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
# torch reads .pt2 files: docker build --build-arg EXTRAS=torch
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY splitc splitc
COPY passes passes
COPY targets targets
RUN python -m venv /opt/splitc \
    && /opt/splitc/bin/pip install --constraint constraints.txt ".${EXTRAS:+[$EXTRAS]}"
# What the first compilation for each instruction set would build. Whoever runs the container may
# add to it.
ENV SPLITC_CACHE_DIR=/opt/splitc-cache
RUN /opt/splitc/bin/splitc doctor --fetch \
    && chmod 1777 /opt/splitc-cache

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --create-home splitc
COPY --from=build /opt/splitc /opt/splitc
COPY --from=build /opt/splitc-cache /opt/splitc-cache
ENV PATH=/opt/splitc/bin:$PATH \
    SPLITC_CACHE_DIR=/opt/splitc-cache \
    PYTHONDONTWRITEBYTECODE=1
USER splitc
WORKDIR /work
ENTRYPOINT ["splitc"]
CMD ["--help"]
