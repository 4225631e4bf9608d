# deploy-nas in a container, as an ordinary user.
#
#   docker build -t deploy-nas .                                   search, report, verify, kits: about 0.4 GB
#   docker build -t deploy-nas --build-arg EXTRA=[supernets] .     and export, train, build
#   docker run --rm -v "$PWD:/work" deploy-nas doctor
#
# Latencies measured in a container are those of the container: a CPU quota (--cpus) shows in them.
FROM python:3.13-slim

ARG EXTRA=""
ARG TORCH=cpu

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY deploy_nas deploy_nas
COPY profiles profiles
RUN python -m pip install --no-cache-dir uv \
    && uv pip install --system --no-cache --torch-backend "$TORCH" ".$EXTRA" \
    && python -m pip uninstall --yes uv \
    && useradd --create-home nas \
    && mkdir /work && chown nas /work

USER nas
WORKDIR /work
ENTRYPOINT ["deploy-nas"]
CMD ["--help"]
