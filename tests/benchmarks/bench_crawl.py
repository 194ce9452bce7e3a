"""What a page costs the crawler, beside a plain aiohttp loop that is neither polite nor safe nor durable.

Type: python tests/benchmarks/bench_crawl.py [n_hosts] [pages_per_host]

A loopback server in a process of its own stands for all hosts; the delay is zero. Each client runs in a process of its
own and is charged its own processor time, so that the numbers hold on a busy machine as well.
"""

import asyncio
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import aiohttp

from pipelines.crawl_run import fetch_urls
from pipelines.crawl_settings import FetchSettings, FetchTask

BODY_BYTES = 20_000  # about a news page, gzipped
CONNECTIONS = 64


def serve(pipe: Any) -> None:
    body = random.Random(1).randbytes(BODY_BYTES)
    page = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {BODY_BYTES}\r\n\r\n".encode() + body
    no_rules = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(no_rules if b" /robots.txt " in head else page)
        await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1_000)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def crawl(port: int, n_hosts: int, n_pages: int) -> int:
    hosts = [f"h{number}.example" for number in range(n_hosts)]
    tasks = [FetchTask(f"http://{host}:{port}/{page}", "") for host in hosts for page in range(n_pages)]
    settings = FetchSettings(
        contact="ops@example.org", delay_s=0.0, n_connections=CONNECTIONS,
        hosts=tuple((host, "127.0.0.1") for host in hosts), allow_addresses=("127.0.0.1",),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        return fetch_urls(tasks, folder, settings, name="bench", progress=False).n_fetched


def loop_with_aiohttp(port: int, n_hosts: int, n_pages: int) -> int:
    async def fetch(session: aiohttp.ClientSession, url: str) -> int:
        async with session.get(url) as response:
            await response.read()
            return int(response.status == 200)

    async def run() -> int:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            urls = [f"http://127.0.0.1:{port}/{host}/{page}" for host in range(n_hosts) for page in range(n_pages)]
            return sum(await asyncio.gather(*(fetch(session, url) for url in urls)))

    return asyncio.run(run())


def measure(client: Callable[[int, int, int], int], port: int, n_hosts: int, n_pages: int, pipe: Any) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    n_fetched = client(port, n_hosts, n_pages)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    pipe.send((n_fetched, wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    n_hosts, n_pages = (int(word) for word in (*sys.argv[1:], "200", "20")[:2])
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    print(f"{'client':>8}  {'pages':>6}  {'wall s':>7}  {'pages/s/core':>12}  {'MiB':>5}")
    for name, client in (("crawler", crawl), ("aiohttp", loop_with_aiohttp)):
        run = context.Process(target=measure, args=(client, port, n_hosts, n_pages, theirs))
        run.start()
        n_fetched, wall, cpu, mib = ours.recv()
        run.join()
        print(f"{name:>8}  {n_fetched:>6}  {wall:>7.1f}  {n_fetched / cpu:>12.0f}  {mib:>5.0f}")
    print(json.dumps({"hosts": n_hosts, "pages_per_host": n_pages, "body_bytes": BODY_BYTES}))
    server.terminate()


if __name__ == "__main__":
    main()
