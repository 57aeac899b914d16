#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Machines that are saved while they work, and go on any number of times (graft run --save, --resume).

usage: test_snapshot.py GRAFT FOLDER-OF-PAYLOADS FOLDER [TEST]...
The payloads check themselves what they compute. GRAFT_SNAPSHOT_ROUNDS says how often one is resumed in all (default 20).
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from qmp import Client

GRAFT, PAYLOADS, FOLDER = sys.argv[1:4]
ROUNDS = int(os.environ.get('GRAFT_SNAPSHOT_ROUNDS', '20'))
PATIENCE = 200
PLACES = [('--vm', 'inproc', '--mmu', 'soft'), ('--vm', 'inproc', '--mmu', 'process')]
if os.access('/dev/kvm', os.R_OK | os.W_OK):
    PLACES.append(('--vm', 'kvm'))
RV64 = os.path.exists(os.path.join(PAYLOADS, 'rv64', 'harts.elf'))
SEED = random.SystemRandom().randrange(1 << 32)


class Snapshot(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='snapshot.', dir=FOLDER)
        self.random = random.Random(SEED)

    def tearDown(self):
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def graft(self, *args):
        return subprocess.run([GRAFT, *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)

    def save(self, payload, when, *options, place=PLACES[0]):
        """Saves it and ends; false: it had ended before."""
        file = self.path('machine')
        r = self.graft('run', os.path.join(PAYLOADS, payload), '--memory', '256M', *place, *options, '--save', f'{file},{when},quit')
        self.assertFalse(b'FAIL' in r.stdout, r.stdout)
        if b'had ended before' in r.stderr:
            self.assertEqual(r.returncode, 1)
            return False
        self.assertEqual((r.returncode, r.stderr), (0, b''), (payload, when))
        return True

    def resume(self, place, *options, file='machine'):
        r = self.graft('run', '--resume', self.path(file), *place, *options)
        text = r.stdout.decode().replace('\r', '')
        self.assertEqual((r.returncode, r.stderr), (0, b''), (place, text, f'seed {SEED}'))
        self.assertFalse('FAIL' in text, (text, f'seed {SEED}'))
        self.assertTrue(text.endswith('ALL PASS\n'), (text, f'seed {SEED}'))

    def under_load(self, payload, *options, rounds=ROUNDS):
        """Saved at random moments in one place, resumed in another."""
        left = rounds
        for _ in range(10 * rounds):
            place = self.random.choice(PLACES)
            if not self.save(payload, f'after={self.random.uniform(0.02, 0.6):.3f}', *options, place=place):
                continue
            for _ in range(min(left, 4)):
                self.resume(self.random.choice(PLACES))
                left -= 1
            if left == 0:
                return
        self.fail('it has always ended before it could be saved')

    def test_interrupts(self):
        self.under_load('interrupts.bin')

    def test_gicv2(self):
        self.under_load('interrupts.bin', '--gic', '2', rounds=ROUNDS // 2)

    def test_two_processors(self):
        self.under_load('smp_v3.bin', '--smp', '2', rounds=ROUNDS // 10)

    @unittest.skipUnless(RV64, 'no payloads of RISC-V')
    def test_riscv64(self):
        self.under_load('rv64/harts.elf', '--smp', '2', rounds=ROUNDS // 4)

    def test_goes_on_after_saving(self):
        file = self.path('machine')
        r = self.graft('run', os.path.join(PAYLOADS, 'interrupts.bin'), *PLACES[0], '--save', file + ',at=PASS')
        self.assertEqual((r.returncode, r.stderr), (0, b''))
        self.assertTrue(r.stdout.replace(b'\r', b'').endswith(b'ALL PASS\n'), r.stdout)
        self.resume(PLACES[0])

    def test_several_at_once(self):
        self.assertTrue(self.save('interrupts.bin', 'at=PASS', '--smp', '2'))
        runs = [subprocess.Popen([GRAFT, 'run', '--resume', self.path('machine'), *PLACES[0]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
                for _ in range(3)]
        for run in runs:
            out = run.communicate(timeout=PATIENCE)[0].replace(b'\r', b'')
            self.assertTrue(run.returncode == 0 and out.endswith(b'ALL PASS\n'), out)

    # --- saved by a program ---
    def held(self, *args, name='control'):
        """A run that is held before its first instruction, with --control at the path that is returned."""
        path = self.path(name)
        run = subprocess.Popen([GRAFT, 'run', *args, *PLACES[0], '--pause', '--control', f'unix:{path}'], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        end = time.time() + PATIENCE
        while not os.path.exists(path) and run.poll() is None and time.time() < end:
            time.sleep(0.02)
        return run, path

    def test_saved_by_command(self):
        file = self.path('machine')
        run, path = self.held(os.path.join(PAYLOADS, 'interrupts.bin'), '--memory', '256M', '--save', file)
        for _ in range(2):
            r = self.graft('snapshot', 'save', f'unix:{path}')
            self.assertEqual((r.returncode, r.stdout, r.stderr), (0, b'', b''))
            self.resume(PLACES[0])
        other, other_path = self.held('--resume', file, name='other')
        r = self.graft('snapshot', 'save', f'unix:{path}')
        self.assertEqual((r.returncode, r.stderr.count(b'\n')), (1, 1), r.stderr)
        self.assertIn(b'runs from what was saved', r.stderr)
        for p in (path, other_path):
            with Client(p) as c:
                c.do('qmp_capabilities')
                self.assertEqual(c.do('cont'), {'return': {}})
        for machine in (run, other):
            out, errors = machine.communicate(timeout=PATIENCE)
            self.assertTrue(out.replace(b'\r', b'').endswith(b'ALL PASS\n'), (machine is run, out, errors))
        self.resume(PLACES[0])
        r = self.graft('snapshot', 'rm', file)
        self.assertEqual((r.returncode, r.stderr, os.path.exists(file)), (0, b'', False))
        r = self.graft('snapshot', 'rm', GRAFT)
        self.assertEqual((r.returncode, os.path.exists(GRAFT)), (1, True))

    def test_saved_by_qmp(self):
        _, path = self.held(os.path.join(PAYLOADS, 'interrupts.bin'), '--memory', '256M', '--save', self.path('machine'))
        with Client(path) as c:
            c.do('qmp_capabilities')
            self.assertIn('no --resume', c.do('snapshot-load', **{'job-id': 'a', 'vmstate': '', 'devices': []})['error']['desc'])
            for wrong in ({'tag': 'elsewhere'}, {'devices': ['drive0']}, {'job-id': ''}, {'job-id': 'x' * 64}):
                self.assertIn('error', c.do('snapshot-save', **{'job-id': 'a', 'tag': 'machine', **wrong}), wrong)
            self.assertEqual(c.do('query-jobs'), {'return': []})
            self.assertEqual(c.do('snapshot-save', **{'job-id': 'a', 'tag': 'machine', 'vmstate': 'drive0', 'devices': []}), {'return': {}})
            self.assertEqual([c.event('JOB_STATUS_CHANGE')['data']['status'] for _ in range(3)], ['created', 'running', 'concluded'])
            job = c.do('query-jobs')['return'][0]
            self.assertEqual((job['id'], job['status'], 'error' in job), ('a', 'concluded', False))
            self.assertIn('already in use', c.do('snapshot-save', **{'job-id': 'a'})['error']['desc'])
            self.assertEqual(c.do('job-dismiss', id='a'), {'return': {}})
            self.assertIn('error', c.do('job-dismiss', id='a'))
            self.assertEqual(c.do('query-jobs'), {'return': []})
        self.resume(PLACES[0])

    def typed(self, client, line, **more):
        return client.do('human-monitor-command', **{'command-line': line}, **more)

    def test_saved_by_savevm(self):
        """As people's scripts have it: the answer comes when all is done, and says nothing if that went well."""
        run, path = self.held(os.path.join(PAYLOADS, 'interrupts.bin'), '--memory', '256M', '--save', self.path('machine'))
        with Client(path) as c:
            c.do('qmp_capabilities')
            for line, why in (('savevm elsewhere', 'of --save'), ('loadvm', 'no --resume'), ('loadvm machine', 'of --resume')):
                self.assertRegex(self.typed(c, line)['return'], f'^Error: .*{why}.*\n$')
            self.assertIn('unknown command', self.typed(c, 'savevmx')['return'])
            for line in ('savevm', 'savevm machine', 'savevm  ' + self.path('machine')):
                self.assertEqual(self.typed(c, line), {'return': ''}, line)
                self.resume(PLACES[0])
            self.assertNotIn('JOB_STATUS_CHANGE', [e['event'] for e in c.events])
            c.send('{"execute":"human-monitor-command","arguments":{"command-line":"savevm"},"id":1}'
                   '{"execute":"human-monitor-command","arguments":{"command-line":"savevm"},"id":2}'
                   '{"execute":"snapshot-save","arguments":{"job-id":"a","devices":[]},"id":3}')
            answers = {a['id']: a for a in (c.answer() for _ in range(3))}
            self.assertEqual((answers[1]['return'], answers[2]['return'][:7], answers[3]['error']['class']), ('', 'Error: ', 'GenericError'))
            self.assertEqual(c.do('query-jobs'), {'return': []})
            c.send('{"execute":"human-monitor-command","arguments":{"command-line":"savevm"}}')
        with Client(path) as c: # who does not wait for its end
            c.do('qmp_capabilities')
            self.assertEqual(self.typed(c, 'cont'), {'return': ''})
            out, errors = run.communicate(timeout=PATIENCE)
        self.assertTrue(run.returncode == 0 and out.replace(b'\r', b'').endswith(b'ALL PASS\n'), (out, errors))

    def test_goes_back_by_loadvm(self):
        while not self.save('interrupts.bin', f'after={self.random.uniform(0.02, 0.1):.3f}'):
            pass
        run, path = self.held('--resume', self.path('machine'))
        with Client(path) as c:
            c.do('qmp_capabilities')
            for line in ('loadvm machine', 'loadvm') * 2:
                self.assertEqual((self.typed(c, line), c.do('query-status')['return']['status']), ({'return': ''}, 'running'))
            self.assertNotIn('RESET', [e['event'] for e in c.events])
            out, errors = run.communicate(timeout=PATIENCE)
        self.assertTrue(run.returncode == 0 and out.replace(b'\r', b'').endswith(b'ALL PASS\n'), (out, errors))

    def test_goes_back(self):
        """As often as it is told to, held or running; then it goes on to its end."""
        while not self.save('interrupts.bin', f'after={self.random.uniform(0.02, 0.1):.3f}'):
            pass
        run, path = self.held('--resume', self.path('machine'))
        with Client(path) as c:
            c.do('qmp_capabilities')
            self.assertIn('of --resume', c.do('snapshot-load', **{'job-id': 'a', 'tag': 'elsewhere', 'devices': []})['error']['desc'])
            for i in range(5):
                self.assertEqual(c.do('snapshot-load', **{'job-id': f'job{i}', 'tag': 'machine', 'devices': []}), {'return': {}})
                self.assertEqual([c.event('JOB_STATUS_CHANGE')['data']['status'] for _ in range(3)], ['created', 'running', 'concluded'])
                self.assertEqual(c.do('query-jobs')['return'][0]['type'], 'snapshot-load')
                self.assertEqual([c.do('job-dismiss', id=f'job{i}'), c.do('query-status')['return']['status']], [{'return': {}}, 'running'])
                self.assertNotIn('RESET', [e['event'] for e in c.events])
            out, errors = run.communicate(timeout=PATIENCE)
        self.assertTrue(run.returncode == 0 and out.replace(b'\r', b'').endswith(b'ALL PASS\n'), (out, errors))

    def test_input_is_all_for_the_machine_as_it_was(self):
        """Of what is there to be read when a run begins, nothing goes to devices that do not have their state yet."""
        self.assertTrue(self.save(os.path.join(os.path.abspath(FOLDER), 'console.bin'), 'after=0.3'))
        for place in PLACES:
            r = subprocess.run([GRAFT, 'run', '--resume', self.path('machine'), *place], input=b'w2\no0\n', capture_output=True, timeout=PATIENCE, check=False)
            self.assertEqual((r.returncode, r.stdout.replace(b'\r', b'')[:16], r.stderr), (0, b'0000000\n0000001\n', b''), place)

    def test_run_without_save(self):
        _, path = self.held(os.path.join(PAYLOADS, 'interrupts.bin'))
        r = self.graft('snapshot', 'save', f'unix:{path}')
        self.assertEqual(r.returncode, 1)
        self.assertIn(b'no --save', r.stderr)

    # --- what is refused ---
    def refused(self, *parts, args=(), status=1):
        r = self.graft('run', '--resume', self.path('machine'), '--vm', 'inproc', *args)
        text = r.stderr.decode()
        self.assertEqual((r.returncode, r.stdout, text.count('\n')), (status, b'', 1), text)
        for part in parts:
            self.assertIn(part, text)

    def change(self, at, byte=b'\x55'):
        with open(self.path('machine'), 'r+b') as f:
            f.seek(at)
            f.write(byte)

    def test_what_is_no_snapshot(self):
        self.refused('machine', 'No such file')
        for content in (b'', b'GRAFTSNP', b'x' * 10000):
            with open(self.path('machine'), 'wb') as f:
                f.write(content)
            self.refused('machine', 'no snapshot')

    def test_damage(self):
        self.assertTrue(self.save('interrupts.bin', 'at=PASS', '--smp', '2'))
        whole = self.path('whole')
        shutil.copy(self.path('machine'), whole)
        r = self.graft('snapshot', 'info', whole)
        self.assertEqual((r.returncode, r.stderr), (0, b''))
        self.assertIn(b'--guest arm64 --memory 256M --smp 2', r.stdout)
        self.assertIn(b'as it was saved', r.stdout)
        size = os.path.getsize(whole)
        self.change(8)  # the version
        self.refused('another version of Graft')
        shutil.copy(whole, self.path('machine'))
        self.change(20)
        self.refused('damaged')
        shutil.copy(whole, self.path('machine'))
        self.change(size - 10)  # the records are at the end
        self.refused('damaged')
        shutil.copy(whole, self.path('machine'))
        os.truncate(self.path('machine'), size - 10)
        self.refused('damaged')
        shutil.copy(whole, self.path('machine'))
        self.change(5000)  # memory
        r = self.graft('snapshot', 'info', self.path('machine'))
        self.assertEqual(r.returncode, 1)
        self.assertIn(b'damaged', r.stdout)

    def test_another_machine(self):
        self.assertTrue(self.save('interrupts.bin', 'at=PASS', '--smp', '2'))
        self.refused('--memory 256M', args=('--memory', '128M'))
        self.refused('--smp 2', args=('--smp', '1'))
        self.refused('--gic 3', args=('--gic', '2'))
        self.refused('--cpu', args=('--cpu', 'cortex-a72'))
        self.refused('--guest arm64', args=('--guest', 'riscv64'))
        self.refused('shared folders', args=('--share', f'a={self.dir}'))

    def test_disks(self):
        disk = self.path('disk')
        with open(disk, 'wb') as f:
            f.truncate(1 << 20)
        self.assertTrue(self.save('interrupts.bin', 'at=PASS', '--drive', disk + ',ro'))
        self.resume(PLACES[0])
        os.rename(disk, disk + '2')
        self.refused('disk', 'No such file')
        self.resume(PLACES[0], '--drive', disk + '2,ro')
        self.refused('--drive with ,ro', args=('--drive', disk + '2'))
        with open(disk + '2', 'r+b') as f:
            f.write(b'x')
        self.refused('changed since', args=('--drive', disk + '2,ro'))

    def test_usage(self):
        for args, part in ((('--save', ''), '--save'), (('--save', self.path('a') + ',after=x'), '--save'), (('--save', ',at=x'), '--save'),
                           (('--bios', '/dev/null', '--save', self.path('a')), 'firmware')):
            r = self.graft('run', os.path.join(PAYLOADS, 'interrupts.bin'), *args)
            self.assertEqual((r.returncode, r.stdout, r.stderr.count(b'\n')), (2, b'', 1), r.stderr)
            self.assertIn(part, r.stderr.decode())
        for args in (('nonsense',), ('save', 'nowhere'), ('info',)):
            r = self.graft('snapshot', *args)
            self.assertEqual((r.returncode, r.stderr.count(b'\n')), (2, 1), args)

    def test_mode(self):
        self.assertTrue(self.save('interrupts.bin', 'at=PASS', '--smp', '2'))
        self.assertEqual(os.stat(self.path('machine')).st_mode & 0o777, 0o600)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
