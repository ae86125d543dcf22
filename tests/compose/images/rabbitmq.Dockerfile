# Stands in for RabbitMQ's own image.
FROM tesp-try/base
RUN apt-get update && apt-get install --yes --no-install-recommends rabbitmq-server
USER rabbitmq
ENV RABBITMQ_LOGS=- HOME=/var/lib/rabbitmq
CMD ["rabbitmq-server"]
