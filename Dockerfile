# Storecast's images, one target each:
#
#     component   every stage on the CPU: `docker run IMAGE` lists them
#     train-gpu   the same, with CUDA's torch if TORCH=cuda (without it the two share all layers)
#     serving     the service of forecasts: what component has, and BentoML
#     dashboard   the dashboard: what stages import but torch, and Streamlit
#     prefect     Prefect's server and its Kubernetes worker
#     mlflow      MLflow's server with basic auth, PostgreSQL and S3
#
# `make images` builds them all. Every package comes at its version in constraints.txt. Nothing here needs the network
# at run time, root, or a writable file system beside /tmp and /work.

ARG BASE=python:3.11-slim
ARG TORCH=cpu

# ---------------------------------------------------------------------------------------------- the base, less its tools
FROM ${BASE} AS base

# libgomp is what LightGBM's wheel expects of the system.
FROM base AS stripped
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/* /var/log/* \
 && rm -rf ${UV_FIND_LINKS:-} ${PIP_FIND_LINKS:-} \
 && find / -xdev -path '*/bin/pip*' -delete \
 && find / -xdev \( -path '*/python3*/ensurepip' -o -path '*/python3*/idlelib' -o -path '*/share/python-wheels' \
      -o -path '*-packages/pip' -o -path '*-packages/setuptools' -o -path '*-packages/wheel' \
      -o -path '*-packages/pip-*' -o -path '*-packages/setuptools-*' -o -path '*-packages/wheel-*' \
      -o -path '*-packages/pkg_resources' -o -path '*-packages/_distutils_hack' \
      -o -path '*-packages/distutils-precedence.pth' -o -path '*/python3*/config-3*' \) -prune -exec rm -rf {} + \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && find / -xdev ! -type l -perm -o+w ! -path /tmp -exec chmod o-w {} + \
 && python -c 'import compileall, os; compileall.compile_dir(os.path.dirname(os.__file__), quiet=2, workers=0)' \
 && echo 'storecast:x:10001:10001::/work:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'storecast:x:10001:' >> /etc/group

# One layer without what was removed; it does not have the base's variables, such as where its pip looks.
FROM scratch AS runtime
COPY --from=stripped / /
RUN install -d -o 10001 -g 10001 /work
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    HOME=/work \
    MPLCONFIGDIR=/tmp/mpl \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /work
USER 10001:10001

# ------------------------------------------------------------------------------------------------ environments, in parts
# An environment is one folder, /opt/venv, filled part by part; final images copy the parts, each a layer that others share.
FROM base AS builder
ARG UV=0.13.9
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV UV_DEFAULT_INDEX=${PIP_INDEX_URL} \
    UV_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} \
    UV_INDEX_STRATEGY=unsafe-best-match \
    UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS}} \
    UV_SYSTEM_CERTS=1 \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_CONSTRAINT=/src/constraints.txt \
    UV_BUILD_CONSTRAINT=/src/constraints.txt \
    UV_EXCLUDE=/src/unwanted.txt \
    VIRTUAL_ENV=/opt/venv
WORKDIR /src
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip install --quiet --root-user-action ignore uv==${UV} && uv venv --quiet /opt/venv
# Prints the requirements that pyproject.toml lists under a word: an extra, or the start of a dependency's name.
RUN printf '%s\n' 'import sys, tomllib' \
      'project = tomllib.load(open("pyproject.toml", "rb"))["project"]' \
      'for word in sys.argv[1:]:' \
      '    print(*project["optional-dependencies"].get(word, []), sep="\n")' \
      '    print(*(line for line in project["dependencies"] if line.startswith(word)), sep="\n")' > listed.py \
 && printf '%s\n' '#!/bin/sh -e' '# Installs, less what only developers use.' \
      'uv pip install --quiet "$@"; rm -f /opt/venv/.lock' \
      'find /opt/venv -type d \( -name tests -o -path "*/torch/include" -o -path "*/torch/test" -o -path "*/pyarrow/include" \) \' \
      '  -prune -exec rm -rf {} +' > /usr/local/bin/install-packages \
 && printf '%s\n' '#!/bin/sh -e' '# Does what it is told and copies what that added to /opt/venv into /part.' \
      'touch /before; sleep 0.1; "$@"; mkdir /part; cd /' \
      'find opt/venv -cnewer /before ! -type d -print0 | tar -c --null -T - | tar -x -C /part' > /usr/local/bin/as-part \
 && chmod +x /usr/local/bin/install-packages /usr/local/bin/as-part && touch unwanted.txt
COPY constraints.txt pyproject.toml ./

# All that stages import, but torch; and no setuptools, which torch asks for to compile what needs a C compiler as well.
FROM builder AS packages
RUN --mount=type=cache,target=/root/.cache/uv \
    printf 'torch\nsetuptools\n' > unwanted.txt && install-packages -r pyproject.toml --extra s3 --extra postgres

# torch is a part of its own, in /part. Where the base offers its pip a folder of wheels, the CPU wheel is there; else uv
# knows where torch's makers keep it.
FROM packages AS torch-cpu
RUN --mount=type=cache,target=/root/.cache/uv \
    echo setuptools > unwanted.txt \
 && as-part install-packages $(test -n "${UV_FIND_LINKS}" || echo --torch-backend=cpu) torch \
 && if uv pip list | grep -i nvidia; then echo 'torch came with CUDA: give the base image the CPU wheel'; exit 1; fi

# The index's own wheel brings CUDA's libraries as packages.
FROM packages AS torch-cuda
RUN --mount=type=cache,target=/root/.cache/uv \
    echo setuptools > unwanted.txt && UV_FIND_LINKS= as-part install-packages torch

FROM torch-${TORCH} AS torch-gpu

FROM builder AS project
COPY README.md LICENSE ./
COPY configs configs
COPY storecast storecast
COPY components components
COPY serving serving
COPY orchestrator orchestrator
COPY dashboard dashboard
COPY pipelines pipelines
RUN --mount=type=cache,target=/root/.cache/uv \
    uv build --quiet --wheel --out-dir /dist && as-part install-packages --no-deps /dist/*.whl

# What the service needs beside what stages do.
FROM packages AS serving-packages
RUN --mount=type=cache,target=/root/.cache/uv \
    printf 'torch\nsetuptools\n' > unwanted.txt && python listed.py serving > wanted.txt && as-part install-packages -r wanted.txt

# What the dashboard needs beside what stages do: no model runs in it, so torch stays out.
FROM packages AS dashboard-packages
RUN --mount=type=cache,target=/root/.cache/uv \
    printf 'torch\nsetuptools\n' > unwanted.txt && python listed.py dashboard > wanted.txt && as-part install-packages -r wanted.txt

FROM builder AS prefect-packages
RUN --mount=type=cache,target=/root/.cache/uv \
    python listed.py prefect kubernetes fastapi > wanted.txt && install-packages -r wanted.txt

FROM builder AS mlflow-packages
RUN --mount=type=cache,target=/root/.cache/uv \
    python listed.py mlflow-server > wanted.txt && install-packages -r wanted.txt

# ------------------------------------------------------------------------------------------------------------ the images
FROM runtime AS stages
COPY --from=packages /opt/venv /opt/venv
ENV STORECAST_HOME=/work/home \
    PREFECT_HOME=/work/prefect
ENTRYPOINT ["python", "-m", "components"]

FROM stages AS train-gpu
ARG VERSION
ARG REVISION
COPY --from=torch-gpu /part /
COPY --from=project /part /
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
LABEL org.opencontainers.image.title="Storecast: training on a GPU" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM runtime AS prefect
ARG VERSION
ARG REVISION
COPY --from=prefect-packages /opt/venv /opt/venv
# The server writes its pages where it serves them from.
ENV PREFECT_HOME=/work/prefect \
    PREFECT_SERVER_UI_STATIC_DIRECTORY=/tmp/prefect-ui \
    PREFECT_SERVER_ANALYTICS_ENABLED=false
ENTRYPOINT ["prefect"]
LABEL org.opencontainers.image.title="Storecast: Prefect's server and Kubernetes worker" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM runtime AS mlflow
ARG VERSION
ARG REVISION
COPY --from=mlflow-packages /opt/venv /opt/venv
ENV MLFLOW_DISABLE_TELEMETRY=true \
    GIT_PYTHON_REFRESH=quiet
ENTRYPOINT ["mlflow"]
LABEL org.opencontainers.image.title="Storecast: MLflow's server" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM stages AS dashboard
ARG VERSION
ARG REVISION
COPY --from=dashboard-packages /part /
COPY --from=project /part /
ENTRYPOINT ["python", "-m", "dashboard"]
CMD ["--host", "0.0.0.0"]
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
LABEL org.opencontainers.image.title="Storecast: the dashboard" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM stages AS on-cpu
COPY --from=torch-cpu /part /
COPY --from=project /part /

FROM on-cpu AS serving
ARG VERSION
ARG REVISION
COPY --from=serving-packages /part /
ENV BENTOML_DO_NOT_TRACK=True
ENTRYPOINT ["python", "-m", "serving"]
CMD ["--host", "0.0.0.0"]
EXPOSE 3000
LABEL org.opencontainers.image.title="Storecast: the service of forecasts" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"

# Without --target, `docker build` makes the last one.
FROM on-cpu AS component
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="Storecast: stages" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
