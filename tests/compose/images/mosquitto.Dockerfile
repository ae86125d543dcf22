# Stands in for Mosquitto's own image: its user, its directories.
FROM tesp-try/base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends mosquitto mosquitto-clients \
    && userdel mosquitto \
    && useradd --uid 1883 mosquitto \
    && install -d -o mosquitto -g mosquitto /mosquitto/config /mosquitto/data
