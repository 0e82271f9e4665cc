"""A client and a server in two processes. The server takes 10, 200 and 50 seconds to answer, the
client waits for 60. Prints what the client saw, in the order in which it happened."""

import os
import select
import socket
import sys
import time


def serve(receive, send):
    for delay in (10, 200, 50):
        number = receive()
        time.sleep(delay)
        send(number)


def ask(receive, send, readable):
    for number in (b"1", b"2", b"3"):
        print("ask", number.decode(), flush=True)
        send(number)
        start = time.monotonic()
        if select.select([readable], [], [], 60)[0]:
            answer = receive()
            print("answer", answer.decode(), flush=True)
        else:
            passed = time.monotonic() - start
            print("late", number.decode() if 60 <= passed < 70 else passed, flush=True)
            # The late answer comes 140 seconds later.
            if receive() != number or not 190 < time.monotonic() - start < 220:
                print("the answer is late by", time.monotonic() - start, flush=True)


if sys.argv[1] != "pipe":
    if sys.argv[1] == "tcp":
        listener = socket.create_server(("127.0.0.1", 0))
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"\0protocol-{os.getpid()}")
        listener.listen()
    if os.fork() == 0:
        server, _ = listener.accept()
        serve(lambda: server.recv(1), server.sendall)
        os._exit(0)
    client = socket.socket(listener.family)
    client.connect(listener.getsockname())
    ask(lambda: client.recv(1), client.sendall, client)
else:
    asked, asks = os.pipe()
    answered, answers = os.pipe()
    if os.fork() == 0:
        serve(lambda: os.read(asked, 1), lambda number: os.write(answers, number))
        os._exit(0)
    ask(lambda: os.read(answered, 1), lambda number: os.write(asks, number), answered)
