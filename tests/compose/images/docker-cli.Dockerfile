# Stands in for the image that Docker's command line is taken from: the one of this machine.
FROM tesp-try/base
COPY docker /usr/local/bin/docker
