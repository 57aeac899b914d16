#!/usr/bin/env python3
# SPDX-FileCopyrightText: The Graft authors
# SPDX-License-Identifier: Apache-2.0
"""The host's side of scripts/test-vsock (sockets.c has the guest's): usage: peer.py PATH

Prints a line CHECK NAME ok or FAIL for each connection that it makes itself."""

import os
import random
import socket
import sys
import threading
import time

BYTES = 6 << 20


def serve(path, port, handle):
    """Calls handle(connection) in a thread of its own for each connection to that port of the host."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}_{port}")
    listener.listen(8)  # few, so that some have to wait

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=run, args=(handle, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def run(handle, connection):
    with connection:
        try:
            handle(connection)
        except OSError:
            pass


def echo(connection):
    while data := connection.recv(50000):
        connection.sendall(data)


def answer_sum(connection, pause=0.0):
    value = 0
    while data := connection.recv(30000):
        for byte in data:
            value = (value * 31 + byte) & 0xFFFFFFFF
        time.sleep(pause)
    connection.sendall(value.to_bytes(4, "little"))


def reach(path, port, patience=0.0):
    """A connection to that port of the guest, what was answered, and what came behind that; None if it was refused."""
    until = time.monotonic() + patience
    while True:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        try:
            connection.connect(path)
            connection.sendall(f"CONNECT {port}\n".encode())
            line = b""
            while not line.endswith(b"\n") and (byte := connection.recv(1)):
                line += byte
            if line:
                assert line.startswith(b"OK "), line
                return connection
        except OSError:
            pass
        connection.close()
        if time.monotonic() >= until:
            return None
        time.sleep(0.2)


def send_and_compare(connection, length, seed):
    data = random.Random(seed).randbytes(length)
    sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
    sender.start()
    back = b""
    while piece := connection.recv(1 << 20):
        back += piece
    sender.join()
    connection.close()
    return back == data


def many(path):
    connections = [reach(path, 2000) for _ in range(60)]
    return all(connections) and all(send_and_compare(c, 10000, i) for i, c in enumerate(connections))


def wrong_greeting(path, text):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(path)
        connection.sendall(text)
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True


def with_data(path):
    """Bytes that come with the greeting are the guest's."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(path)
        connection.sendall(b"CONNECT 2000\nhello")
        connection.shutdown(socket.SHUT_WR)
        back = b""
        while piece := connection.recv(100):
            back += piece
        return back.startswith(b"OK ") and back.endswith(b"\nhello")


def check(name, good):
    print(f"CHECK {name} {'ok' if good else 'FAIL'}", flush=True)


def main(path):
    for port in (1000, 1001, 1002):
        try:
            os.unlink(f"{path}_{port}")
        except FileNotFoundError:
            pass
    serve(path, 1000, echo)
    serve(path, 1001, answer_sum)
    serve(path, 1002, lambda connection: answer_sum(connection, 0.02))
    print("READY", flush=True)
    first = reach(path, 2000, 200)
    check("host-connects", first is not None)
    check("host-sends", first is not None and send_and_compare(first, BYTES, 1))
    check("host-refused", reach(path, 2999) is None)
    check("host-many", many(path))
    check("host-greeting", all(wrong_greeting(path, t) for t in (b"HELLO\n", b"CONNECT \n", b"CONNECT 4294967296\n",
                                                                b"CONNECT 1x\n", b"x" * 40)))
    check("host-with-data", with_data(path))
    check("host-after", (last := reach(path, 2000)) is not None and send_and_compare(last, 100000, 2))
    reach(path, 2001)


main(sys.argv[1])
