# A worker of Sekisho: python:3.12-slim, the locked packages, nothing that compiles C.
FROM python:3.12-slim

RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY requirements.lock ./
RUN python -m pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY . .
RUN python -m pip install --no-cache-dir --no-deps --no-build-isolation .

RUN useradd --create-home sekisho && install --directory --owner sekisho /state /kernels
USER sekisho
# Compiled kernels outlive a container when this is a volume: a start then takes seconds.
ENV NUMBA_CACHE_DIR=/kernels
VOLUME ["/state", "/kernels"]
EXPOSE 6066
ENTRYPOINT ["sekisho"]
CMD ["worker", "--config", "/etc/sekisho/sekisho.toml"]
