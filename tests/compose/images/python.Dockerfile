# Stands in for the official image of Python: what deploy/Dockerfile builds on.
FROM stand-in-python
RUN ln -s /usr/bin/python3 /usr/local/bin/python
