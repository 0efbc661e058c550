# Stands in for the official image of Apache Kafka: its user, its folders, its variables, its program for the health check.
FROM stand-in-servers
RUN useradd --uid 1000 --home-dir /opt/kafka --no-create-home appuser \
    && install -d -o appuser /opt/kafka/config /var/lib/kafka/data
COPY --from=libs . /opt/kafka/libs
COPY kafka-broker-api-versions.sh /opt/kafka/bin/
COPY kafka-entrypoint /usr/local/bin/
USER appuser
VOLUME /var/lib/kafka/data
ENTRYPOINT ["kafka-entrypoint"]
