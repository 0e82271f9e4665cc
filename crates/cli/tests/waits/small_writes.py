"""Two processes that send each other two bytes in two writes. Over TCP the kernel holds back the second
until the other side acknowledges the first, which that does 40 ms later (Nagle's algorithm and delayed
acknowledgements). Each waits for 10 seconds at most. Prints whether all bytes came."""

import os
import select
import socket
import sys

ADDRESSES = {
    "tcp": (socket.AF_INET, ("127.0.0.1", 0)),
    "tcp6": (socket.AF_INET6, ("::1", 0)),
    "unix": (socket.AF_UNIX, f"\0small-writes-{os.getpid()}"),
}
family, address = ADDRESSES[sys.argv[1]]


def receive(connection):
    received = b""
    while len(received) < 2:
        if not select.select([connection], [], [], 10)[0]:
            os._exit(1)
        byte = connection.recv(2)
        if not byte:
            os._exit(1)
        received += byte


def send(connection):
    connection.send(b"1")
    connection.send(b"2")


listener = socket.socket(family)
listener.bind(address)
listener.listen()
child = os.fork()
if child == 0:
    server, _ = listener.accept()
    for _ in range(20):
        receive(server)
        send(server)
    os._exit(0)
client = socket.socket(family)
client.connect(listener.getsockname())
for _ in range(20):
    send(client)
    receive(client)
print("right" if os.waitpid(child, 0)[1] == 0 else "wrong")
