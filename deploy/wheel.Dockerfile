# The image from the wheel: put `unefois-*.whl` beside this file, then `docker build -t unefois .`. From a checkout it is
# deploy/Dockerfile, which differs in where the program comes from alone.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/unefois
COPY requirements/server.txt requirements/server.txt
RUN /opt/unefois/bin/pip install --no-cache-dir --require-hashes -r requirements/server.txt
COPY unefois-*.whl ./
RUN /opt/unefois/bin/pip install --no-cache-dir --no-deps --no-index unefois-*.whl

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/unefois --no-create-home --shell /usr/sbin/nologin unefois \
    && install -d -o unefois -g unefois -m 700 /var/lib/unefois
COPY --from=build /opt/unefois /opt/unefois
ENV PATH=/opt/unefois/bin:$PATH UNEFOIS_HOME=/var/lib/unefois PYTHONDONTWRITEBYTECODE=1
USER unefois
VOLUME /var/lib/unefois
ENTRYPOINT ["unefois"]
CMD ["serve", "--role", "all"]
