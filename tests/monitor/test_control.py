#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""--control: a client of QMP, on a bare-metal guest.

usage: test_control.py GRAFT FOLDER-OF-GUESTS QEMU [TEST]...
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from qmp import Client

GRAFT, GUESTS, QEMU = sys.argv[1:4]
PATIENCE = 200  # seconds for anything: nothing here is about speed
KEY = os.path.join(GUESTS, 'powerkey.bin')


class Control(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='graft-control.')
        self.addCleanup(shutil.rmtree, self.dir)
        self.path = os.path.join(self.dir, 'control')
        self.console = os.path.join(self.dir, 'console')

    def start(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.stop)
        end = time.time() + PATIENCE
        while self.process.poll() is None and time.time() < end:
            try:
                c = Client(self.path)
                self.addCleanup(c.close)
                return c
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.02)
        self.fail(self.process.communicate())

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def graft(self, *words, guest=KEY):
        return self.start([GRAFT, 'run', guest, '--vm', 'inproc', '--mmu', 'soft', '--memory', '64M', '--serial', f'file:{self.console}',
                           '--control', f'unix:{self.path}', *words])

    def talking(self, *words, **more):
        c = self.graft(*words, **more)
        self.assertEqual(c.do('qmp_capabilities'), {'return': {}})
        return c

    def ends(self, status):
        out = self.process.communicate(timeout=PATIENCE)
        self.assertEqual(self.process.returncode, status, out)

    def printed(self):
        with open(self.console, encoding='utf-8') as f:
            return f.read()

    def wait_for(self, text):
        while text not in self.printed():
            self.assertIsNone(self.process.poll())
            time.sleep(0.02)

    def test_negotiation(self):
        c = self.graft()
        self.assertEqual(c.greeting['QMP']['capabilities'], [])
        self.assertEqual(set(c.greeting['QMP']['version']['qemu']), {'major', 'minor', 'micro'})
        self.assertEqual(c.do('query-status')['error']['class'], 'CommandNotFound')
        self.assertEqual(c.do('qmp_capabilities'), {'return': {}})
        self.assertEqual(c.do('qmp_capabilities')['error']['class'], 'CommandNotFound')
        self.assertIn({'name': 'query-status'}, c.do('query-commands')['return'])
        self.assertEqual(c.do('query-version')['return'], c.greeting['QMP']['version'])
        self.assertEqual(c.do('query-name'), {'return': {}})
        self.assertEqual(c.do('quit'), {'return': {}})
        self.assertEqual(c.event('SHUTDOWN')['data'], {'guest': False, 'reason': 'host-qmp-quit'})
        self.ends(0)

    def test_errors(self):
        c = self.talking()
        for text, word in (('{"execute":1}', 'execute'), ('[1]', 'object'), ('{"x":1}', "'x'"), ('{"execute":"stop","arguments":3}', 'arguments'),
                           ('{"execute":"stop","arguments":{"a":1}}', "'a'"), ('{"execute": nonsense}', 'parse'), ('nonsense\n', 'parse'),
                           ('{"execute":"human-monitor-command"}', 'command-line'), ('{' * 5000 + '}' * 5000, 'parse'),
                           ('{"execute":"human-monitor-command","arguments":{"command-line":"help","cpu-index":9}}', 'cpu-index'),
                           (json.dumps({'execute': 'x' * 100000}), '65536')):
            answer = c.ask(text)
            self.assertEqual(answer['error']['class'], 'GenericError', text[:100])
            self.assertIn(word, answer['error']['desc'])
        self.assertEqual(c.do('blockdev-add')['error'], {'class': 'CommandNotFound', 'desc': 'The command blockdev-add has not been found'})
        self.assertEqual(c.ask('{"execute":"query-name","id":{"a":["}",1]}}'), {'return': {}, 'id': {'a': ['}', 1]}})
        self.assertEqual(c.ask('{"execute":"nothing","id":7}')['id'], 7)
        c.send('{"execute":"query-name","id":1}{"execute":"query-name","id":2}\r\n\r\n {"execute":\n"query-name","id":3}')
        self.assertEqual([c.answer()['id'] for _ in range(3)], [1, 2, 3])

    def test_stop_and_go_on(self):
        c = self.talking('--smp', '2')
        self.wait_for('waiting')
        self.assertEqual(c.do('query-status')['return'], {'running': True, 'status': 'running'})
        self.assertEqual(c.do('stop'), {'return': {}})
        self.assertIn('timestamp', c.event('STOP'))
        self.assertEqual(c.do('query-status')['return'], {'running': False, 'status': 'paused'})
        cpus = c.do('query-cpus-fast')['return']
        self.assertEqual([(k['cpu-index'], k['target']) for k in cpus], [(0, 'aarch64'), (1, 'aarch64')])

        def used():
            with open(f'/proc/{self.process.pid}/task/{cpus[0]["thread-id"]}/stat', encoding='utf-8') as f:
                fields = f.read().rsplit(')', 1)[1].split()
            return int(fields[11]) + int(fields[12])
        before = used()
        time.sleep(0.3)
        self.assertLessEqual(used() - before, 1)  # a processor that is held does nothing
        self.assertRegex(c.do('human-monitor-command', **{'command-line': 'info registers'})['return'], r'(?m)^pc +0000000040[0-9a-f]{6}$')
        self.assertEqual(c.do('cont'), {'return': {}})
        c.event('RESUME')
        self.assertIn('stop it first', c.do('human-monitor-command', **{'command-line': 'info registers'})['return'])
        self.assertEqual(c.do('human-monitor-command', **{'command-line': 'info status'})['return'], 'VM status: running\n')

    def test_typed(self):
        c = self.talking()
        self.wait_for('waiting')

        def typed(line):
            return c.do('human-monitor-command', **{'command-line': line})
        for again in 'cont', 'c':
            self.assertEqual(typed('stop'), {'return': ''})
            c.event('STOP')
            self.assertEqual((typed('info status'), typed('stop')), ({'return': 'VM status: paused\n'}, {'return': ''}))
            self.assertEqual(typed(again), {'return': ''})
            c.event('RESUME')
        self.assertIn('unknown command', typed('stop it')['return'])
        self.assertEqual(typed('system_powerdown'), {'return': ''})
        self.ends(0)
        self.assertIn('ALL PASS', self.printed())

    def test_power_key(self):
        c = self.talking()
        self.wait_for('waiting')
        self.assertEqual(c.do('system_powerdown'), {'return': {}})
        c.event('POWERDOWN')
        self.assertEqual(c.event('SHUTDOWN')['data'], {'guest': True, 'reason': 'guest-shutdown'})
        self.ends(0)
        self.assertIn('ALL PASS', self.printed())

    def test_power_key_on_qemu(self):
        if not os.path.exists(QEMU):
            self.skipTest('no QEMU')
        c = self.start([QEMU, '-M', 'virt', '-cpu', 'max', '-m', '64M', '-display', 'none', '-serial', f'file:{self.console}', '-monitor', 'none',
                        '-qmp', f'unix:{self.path},server=on,wait=off', '-kernel', KEY])
        c.do('qmp_capabilities')
        self.wait_for('waiting')
        self.assertEqual(c.do('system_powerdown'), {'return': {}})
        c.event('SHUTDOWN')
        self.ends(0)
        self.assertIn('ALL PASS', self.printed())

    def test_reset(self):
        c = self.talking()
        self.wait_for('waiting')
        self.assertEqual(c.do('system_reset'), {'return': {}})
        self.assertEqual(c.event('RESET')['data'], {'guest': False, 'reason': 'host-qmp-system-reset'})
        while self.printed().count('waiting') < 2:
            time.sleep(0.02)
        c.do('system_powerdown')
        self.ends(0)

    def test_pause(self):
        c = self.talking('--pause')
        c.event('STOP') if c.do('query-status')['return']['running'] else None
        self.assertEqual(c.do('query-status')['return']['status'], 'paused')
        self.assertEqual(self.printed(), '')
        c.do('cont')
        self.wait_for('waiting')

    def test_disks(self):
        disk = os.path.join(self.dir, 'disk')
        with open(disk, 'wb') as f:
            f.truncate(1 << 20)
        c = self.talking('--drive', disk, '--drive', f'{KEY},ro')
        blocks = c.do('query-block')['return']
        self.assertEqual([(b['device'], b['inserted']['file'], b['inserted']['ro']) for b in blocks], [('drive0', disk, False), ('drive1', KEY, True)])
        stats = c.do('query-blockstats')['return']
        self.assertEqual(stats[0]['stats']['rd_operations'], 0)

    def test_balloon(self):
        c = self.talking()
        for command in ('balloon', 'query-balloon'):
            self.assertIn('No balloon device', c.do(command, **({'value': 1 << 25} if command == 'balloon' else {}))['error']['desc'])
        self.stop()
        c = self.talking('--balloon')
        for value in (0, -1, 'x', None):
            self.assertIn('error', c.do('balloon', value=value))
        self.assertEqual(c.do('balloon', value=1 << 25), {'return': {}})
        self.assertEqual(c.do('query-balloon'), {'return': {'actual': 1 << 26}})  # this guest has no driver

    def test_signal_while_held(self):
        c = self.talking()
        c.do('stop')
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(c.event('SHUTDOWN')['data'], {'guest': False, 'reason': 'host-signal'})
        self.ends(128 + signal.SIGTERM)

    def test_client_that_never_reads(self):
        c = self.talking()
        c.socket.settimeout(2)
        with self.assertRaises(TimeoutError):
            while True:
                c.send('{"execute": "query-commands"}' * 100)
        self.process.terminate()
        self.ends(128 + signal.SIGTERM)

    def test_client_that_leaves_in_the_middle(self):
        self.graft().close()
        for piece in ('{"execute": "qmp_capa', '[' * 70000, '"\\', '{' * 5000 + '}' * 4999, '{"execute": "qmp_capabilities"}{"execute": "stop"}',
                      '{"execute": "qmp_capabilities", "id": ' + '[' * 2000 + ']' * 2000 + '}'):
            c = Client(self.path)
            c.send(piece)
            c.close()
        c = Client(self.path)
        self.addCleanup(c.close)
        self.assertEqual(c.do('qmp_capabilities'), {'return': {}})
        self.assertEqual(c.do('quit'), {'return': {}})
        self.ends(0)

    def test_client_that_leaves(self):
        c = self.talking()
        c.do('stop')
        c.close()
        c = Client(self.path)
        self.addCleanup(c.close)
        c.do('qmp_capabilities')
        self.assertEqual(c.do('query-status')['return']['status'], 'paused')


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
