# Stands in for the official image of PostgreSQL: its user, its folder, its signal to stop, its variables.
FROM stand-in-servers
ARG BINARIES
ENV PATH=$BINARIES:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data
RUN install -d -o postgres -g postgres -m 1777 /var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
COPY postgres-entrypoint /usr/local/bin/
STOPSIGNAL SIGINT
ENTRYPOINT ["postgres-entrypoint"]
CMD ["postgres"]
