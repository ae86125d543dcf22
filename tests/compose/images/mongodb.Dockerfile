# Stands in for MongoDB where its image cannot be pulled.
FROM tesp-try/base
COPY mongodb.txt /
RUN python3 -m venv /opt/mongodb \
    && /opt/mongodb/bin/pip install --no-cache-dir --no-deps -r /mongodb.txt \
    && touch /etc/secantusd.toml \
    && mkdir -p /data/db /data/configdb
ENV PATH=/opt/mongodb/bin:/usr/bin:/bin
