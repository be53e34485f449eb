# The demo in a container: docker build -t agenttts . && docker run --rm agenttts
FROM python:3.12-slim
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir '.[local]' && useradd --create-home --uid 1000 user
USER 1000
WORKDIR /home/user
CMD ["agenttts", "search", "minihop", "--llm", "none", "--trials", "24", "--store", "demo.db"]
