# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""A client of --control."""

import json
import socket

SECONDS = 200  # for anything: nothing here is about speed


class Client:
    """What QEMU's own client does: messages without anything in between."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)  # which waits for room in the queue
        self.socket.settimeout(SECONDS)
        self.lines = self.socket.makefile('r', encoding='utf-8')
        self.events = []
        self.greeting = json.loads(self.lines.readline())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.lines.close()
        self.socket.close()

    def send(self, text):
        self.socket.sendall(text.encode())

    def answer(self):
        while True:
            line = self.lines.readline()
            if not line:
                return None
            message = json.loads(line)
            if 'event' not in message:
                return message
            self.events.append(message)

    def ask(self, text):
        self.send(text)
        return self.answer()

    def do(self, command, **args):
        return self.ask(json.dumps({'execute': command, **({'arguments': args} if args else {})}))

    def event(self, name):
        """The first event of that name, which may be still to come."""
        while True:
            for e in self.events:
                if e['event'] == name:
                    self.events.remove(e)
                    return e
            line = self.lines.readline()
            if not line:
                raise AssertionError(f'no event {name}')
            self.events.append(json.loads(line))
